"""Scores of answers: the task's own, and the outcomes that are counted for every task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from draftmark.types import Example, FinishReason, Task

if TYPE_CHECKING:
    from draftmark.grading.sandbox import Sandbox

OUTCOMES = {
    "truncated": "it was cut at the length limit",
    "empty": "it has nothing but spaces",
}


def grade_answers(
    task: Task, answers: Sequence[tuple[Example, str]], sandbox: Sandbox
) -> list[dict[str, float]]:
    """Return the task's scores of each answer, in order; programs run in the sandbox."""
    if task.grade_programs:
        return task.grade_programs(answers, sandbox)
    return [task.grade(example, text) for example, text in answers]


def response_outcomes(text: str, reason: FinishReason) -> dict[str, Any]:
    """Return 0 or 1 for each of OUTCOMES of a response; they do not change its grade."""
    return {"truncated": float(reason == "length"), "empty": float(not text.strip())}
