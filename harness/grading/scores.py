"""Answers -> scores: those of the task, and what is tallied of the answers to any task."""

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


def grade(
    task: Task, answers: Sequence[tuple[Example, str]], sandbox: Sandbox
) -> list[dict[str, float]]:
    """Return the scores of each answer to a task, in order; programs run in the sandbox."""
    if task.grade_programs:
        return task.grade_programs(answers, sandbox)
    return [task.grade(example, text) for example, text in answers]


def outcomes(text: str, reason: FinishReason) -> dict[str, Any]:
    """Return each of OUTCOMES for a response, as 0 or 1: it is graded all the same."""
    return {"truncated": float(reason == "length"), "empty": float(not text.strip())}
