"""A task as a metric of `evaluate`: the mean of its grades, offline, and free until it is asked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from draftmark.errors import UserError
from draftmark.grading.isolation import bubblewrap
from draftmark.grading.metrics import as_metric, mean_grades
from draftmark.grading.sandbox import Sandbox
from draftmark.registry import find

NUMBERS = [{"question": f"{n} + 0?", "answer": f"#### {n}"} for n in range(3)]
ORDERS = [{"instruction": "Say it.", "input": "", "output": text} for text in ("a cat", "a dog")]
CASES = [
    pytest.param("gsm8k", NUMBERS, ["#### 0", "It is 1.", ""], id="gsm8k"),
    pytest.param("alpaca", ORDERS, ["the cat", ""], id="alpaca"),
]


@pytest.mark.parametrize(("name", "rows", "texts"), CASES)
def test_the_metric_is_the_mean_of_the_grades(
    name: str, rows: list[dict[str, str]], texts: list[str], tmp_path: Path
) -> None:
    task = find("tasks", name)
    grades = [
        task.grade(task.to_example("x", row), text) for row, text in zip(rows, texts, strict=True)
    ]

    metric = as_metric(task, tmp_path)
    computed = metric.compute(predictions=texts, references=[json.dumps(row) for row in rows])

    assert computed == {
        score: sum(grade[score] for grade in grades) / len(grades) for score in grades[0]
    }
    assert f"task {name}, version {task.version}" in metric.description
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_metric_takes_responses_one_by_one(tmp_path: Path) -> None:
    metric = as_metric(find("tasks", "gsm8k"), tmp_path)
    for row, text in zip(NUMBERS, ("#### 0", "#### 1", "#### 7"), strict=True):
        metric.add(prediction=text, reference=json.dumps(row))

    assert metric.compute()["exact_match"] == pytest.approx(2 / 3)


def test_the_metric_of_programs_runs_them_in_the_sandbox(tmp_path: Path) -> None:
    row = json.dumps({"text": "One.", "code": "x = 1", "test_list": ["assert x == 1"]})
    allowed = Sandbox(unsafe=bubblewrap.why_not() is not None)
    metric = as_metric(find("tasks", "mbpp"), tmp_path, allowed)

    computed = metric.compute(predictions=["x = 1", "x = 2"], references=[row, row])

    assert (computed["pass@1"], computed["assertion"]) == (0.5, 0.5)


def test_the_metric_of_programs_refuses_to_run_them_unisolated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    row = json.dumps({"text": "One.", "code": "x = 1", "test_list": ["assert x == 1"]})

    with pytest.raises(UserError, match="would not be isolated"):
        mean_grades(find("tasks", "mbpp"), ["x = 1"], [row])


def test_no_responses_are_an_error() -> None:
    with pytest.raises(ValueError, match="no mean of no grades"):
        mean_grades(find("tasks", "gsm8k"), [], [])


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({**ORDERS[0], "output": "<nooutput>"}, "alpaca leaves this row out .placeholder"),
        ({"instruction": "Say it.", "output": "a cat"}, "no text in column 'input'"),
    ],
)
def test_a_row_that_is_no_example_is_an_error(row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        mean_grades(find("tasks", "alpaca"), ["a cat"], [json.dumps(row)])


def test_importing_it_loads_neither_evaluate_nor_torch() -> None:
    script = (
        "import sys, draftmark.grading.metrics;"
        "print({'evaluate', 'torch', 'nltk'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.strip() == "set()", done.stderr
