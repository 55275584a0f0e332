"""Scores of answers: the task's own, and the outcomes that are counted for every task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from draftmark.types import Example, FinishReason, Task

if TYPE_CHECKING:
    from draftmark.grading.sandbox import Sandbox

OUTCOMES = {
    "truncated": "it was cut at the length limit",
    "empty": "it has nothing but spaces, or nothing after its thinking",
}


def grade_answers(
    task: Task, answers: Sequence[tuple[Example, str]], sandbox: Sandbox
) -> list[dict[str, float]]:
    """Return the task's scores of each answer, in order; programs run in the sandbox.

    A task that does not grade answers has no scores: each answer's are empty.
    Equal answers to an example are graded once: the arms of a lossless engine write the same.
    """
    distinct = {(example.id, text): (example, text) for example, text in answers}
    if task.grade_programs:
        scores = task.grade_programs(list(distinct.values()), sandbox)
    else:
        grade = task.grade or (lambda example, text: {})
        scores = [grade(example, text) for example, text in distinct.values()]
    of_answer = dict(zip(distinct, scores, strict=True))
    return [of_answer[example.id, text] for example, text in answers]


def response_outcomes(text: str, reason: FinishReason) -> dict[str, Any]:
    """Return 0 or 1 for each of OUTCOMES of a response; they do not change its grade."""
    return {"truncated": float(reason == "length"), "empty": float(not text.strip())}
