"""MT-Bench and Spec-Bench: two turns, categories, and the same questions from every source."""

from collections import Counter
from typing import Any

import pytest
from places import REAL_ROWS

from draftmark.data.check import check_task
from draftmark.data.rows import DATA_VARIABLE, load_rows
from draftmark.registry import find_registered
from draftmark.tasks import mt_bench, prompts, spec_bench
from draftmark.types import Task

TASKS = (mt_bench.TASK, spec_bench.TASK, prompts.TASK)
has_real_rows = pytest.mark.skipif(
    not (REAL_ROWS / "spec_bench").is_dir(),
    reason=f"no real rows: {DATA_VARIABLE} names none of spec_bench",
)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_samples_are_whole_and_cover_the_categories(task: Task) -> None:
    found = check_task(task, sources=["samples"]).splits["test"]

    assert found.malformed == ()
    assert 6 <= found.num_rows <= 16
    assert any(example.follows for example in found.examples)
    assert all(example.category for example in found.examples)
    assert not task.is_graded


def test_mt_bench_has_its_categories_under_the_names_of_both_sources() -> None:
    row = {"category": "math", "reference": ["3", "4"]}
    ours = mt_bench.TASK.to_example("x", {**row, "turns": ["1 + 2?", "And 1?"]})
    hub = mt_bench.TASK.to_example("x", {**row, "prompt": ["1 + 2?", "And 1?"]})

    assert ours == hub
    assert mt_bench.left_out({"category": "rag"})
    assert not mt_bench.left_out({"category": "stem"})


def test_categories_of_mt_bench_are_one_subtask_of_spec_bench() -> None:
    for category, subtask in (("stem", "mt_bench"), ("rag", "rag")):
        (example,) = spec_bench.to_example("x", {"category": category, "turns": ["a"]})
        assert example.category == subtask


@has_real_rows
def test_real_rows_have_the_published_categories() -> None:
    def load(name: str, count: int) -> Any:
        task = find_registered("tasks", name)
        return load_rows(task, "test", count, sources=["directory"], directory=REAL_ROWS)

    bench, suite = load("mt_bench", 80), load("spec_bench", 480)
    of_rows = [one.category for one in suite.examples if not one.follows]

    assert Counter(one.category for one in bench.examples) == dict.fromkeys(mt_bench.CATEGORIES, 20)
    assert set(Counter(of_rows).values()) == {80}
    assert len(set(of_rows)) == 6
    assert [one.messages for one in bench.examples] == [
        one.messages for one in suite.examples[:160]
    ]
