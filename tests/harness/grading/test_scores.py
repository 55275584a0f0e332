"""Answers get the scores of their task, whether it grades one by one or runs programs at once."""

from dataclasses import replace

import pytest

from draftmark.grading.isolation import bubblewrap
from draftmark.grading.sandbox import Sandbox
from draftmark.grading.scores import OUTCOMES, grade_answers, response_outcomes
from draftmark.registry import find_registered
from draftmark.types import Example, FinishReason

ROWS = {
    "gsm8k": {"question": "1 + 1?", "answer": "#### 2"},
    "mbpp": {"text": "One.", "code": "x = 1", "test_list": ["assert x == 1"]},
}
RIGHT = {"gsm8k": "#### 2", "mbpp": "x = 1"}
WRONG = {"gsm8k": "#### 3", "mbpp": "x = 2"}


def test_answers_are_graded_in_order() -> None:
    allowed = Sandbox(unsafe=bubblewrap.why_unavailable() is not None)
    for name, row in ROWS.items():
        task = find_registered("tasks", name)
        example = task.to_example(f"{name}/test/0", row)
        answers = [(example, RIGHT[name]), (example, WRONG[name]), (example, RIGHT[name])]

        scores = grade_answers(task, answers, allowed)

        assert [score[task.headline] for score in scores] == [1, 0, 1]


def test_equal_answers_to_an_example_are_graded_once() -> None:
    task, graded = find_registered("tasks", "gsm8k"), []

    def grade(example: Example, text: str) -> dict[str, float]:
        graded.append((example.id, text))
        return {"exact_match": float(len(graded))}

    rows = [task.to_example(f"gsm8k/test/{number}", ROWS["gsm8k"]) for number in range(2)]
    answers = [(rows[0], "a"), (rows[1], "a"), (rows[0], "b"), (rows[0], "a"), (rows[1], "a")]

    scores = grade_answers(replace(task, grade=grade), answers, Sandbox())

    assert graded == [(rows[0].id, "a"), (rows[1].id, "a"), (rows[0].id, "b")]
    assert [score["exact_match"] for score in scores] == [1, 2, 3, 1, 2]


def test_no_answers_have_no_scores() -> None:
    assert grade_answers(find_registered("tasks", "gsm8k"), [], Sandbox()) == []


@pytest.mark.parametrize(
    ("text", "reason", "expected"),
    [
        ("", "stop", (0, 1)),
        (" \n", "length", (1, 1)),
        ("...", "length", (1, 0)),
        ("It is 3.", "stop", (0, 0)),
    ],
)
def test_how_a_response_ended_is_told_apart(
    text: str, reason: FinishReason, expected: tuple[float, float]
) -> None:
    assert response_outcomes(text, reason) == dict(zip(OUTCOMES, expected, strict=True))
