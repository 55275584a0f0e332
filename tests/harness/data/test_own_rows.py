"""Tasks with rows of their own: a function, files, and neither data set nor samples."""

import json
from pathlib import Path
from typing import Any

import pytest

from draftmark.data.check import check_task
from draftmark.data.rows import load_rows
from draftmark.errors import UserError
from draftmark.grading.sandbox import Sandbox
from draftmark.grading.scores import grade_answers
from draftmark.types import Example, Row, Split, Task


def _example(example_id: str, row: Row) -> Example:
    return Example(example_id, ({"role": "user", "content": row["items"][0]},))


def _task(**fields: Any) -> Task:
    shared: Any = {"list_columns": ("items",), "to_example": _example, "max_new_tokens": 8}
    return Task(name="own", version=1, **shared, **fields)


def test_a_function_gives_rows_whatever_the_sources_are() -> None:
    def rows(split: Split) -> list[Row]:
        return [{"items": [f"{split} {number}"]} for number in range(3)]

    found = load_rows(_task(rows=rows), "validation", 2, sources=["hub"])

    assert found.source == "function of task own"
    assert [one.messages[0]["content"] for one in found.examples] == [
        "validation 0",
        "validation 1",
    ]
    assert [one.id for one in found.examples] == ["own/validation/0", "own/validation/1"]


def test_files_give_rows_and_lists_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows: list[Any] = [{"items": ["a"]}, {"items": []}, {"items": "b"}, {"items": ["c"]}]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    task = _task(files={"test": path})
    found = check_task(task, sources=["hub"])

    assert list(found.splits) == ["test"]
    assert [one.messages[0]["content"] for one in found.splits["test"].examples] == ["a", "c"]
    assert found.splits["test"].malformed == (
        f"{path}, line 2: column 'items' is empty",
        f"{path}, line 3: no list in column 'items'",
    )


def test_a_task_without_any_rows_says_what_was_tried() -> None:
    with pytest.raises(UserError, match=r"the task names no data set; samples: the task has no"):
        load_rows(_task(), "test", 1, sources=["hub", "samples"])


def test_a_task_without_grades_has_no_scores() -> None:
    task, example = _task(), _example("own/test/0", {"items": ["a"]})

    assert not task.is_graded
    assert grade_answers(task, [(example, "x"), (example, "x")], Sandbox()) == [{}, {}]
