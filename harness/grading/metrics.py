"""A task's grade as a metric of Hugging Face's `evaluate`, without a download or a network."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from draftmark.grading.sandbox import Sandbox
from draftmark.grading.scores import grade
from draftmark.types import Example, Task

if TYPE_CHECKING:
    import evaluate

SAFE = Sandbox()


def mean_grades(
    task: Task, texts: Sequence[str], rows: Sequence[str], sandbox: Sandbox = SAFE
) -> dict[str, float]:
    """Return the mean of each score of a task over responses.

    `rows`: for each response the row of the data set that it answers, as JSON; a grade may need
    any of its columns. Programs run in the sandbox. Raises ValueError without rows, or for one that
    is no example of the task.
    """
    if not texts:
        raise ValueError("there is no mean of no grades: give predictions and references")
    examples = [_example(task, json.loads(row)) for row in rows]
    grades = grade(task, list(zip(examples, texts, strict=True)), sandbox)
    return {name: sum(scores[name] for scores in grades) / len(grades) for name in grades[0]}


def _example(task: Task, row: Mapping[str, Any]) -> Example:
    if reason := task.left_out(row):
        raise ValueError(f"{task.name} leaves this row out ({reason}): {json.dumps(row)[:80]}")
    return task.to_example(task.name, row)


def as_metric(task: Task, cache: Path | None = None, sandbox: Sandbox = SAFE) -> "evaluate.Metric":
    """Return a task's grade as an `evaluate.Metric`; see `mean_grades` for what it computes.

    `compute(predictions=[response, ...], references=[json.dumps(row), ...])`. What is added is
    kept in memory; `cache` is the folder that `evaluate` makes its empty folders in.
    """
    import datasets
    import evaluate

    class Grade(evaluate.Metric):  # type: ignore[misc]
        def _info(self) -> Any:
            text = datasets.Value("string")
            return evaluate.MetricInfo(
                description=f"Grade of the task {task.name}, version {task.version}.",
                citation="",
                features=datasets.Features({"predictions": text, "references": text}),
                inputs_description="predictions: responses; references: rows as JSON.",
            )

        def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
            return mean_grades(task, predictions, references, sandbox)

    folder = str(cache) if cache else None
    return Grade(config_name=task.name, keep_in_memory=True, cache_dir=folder)
