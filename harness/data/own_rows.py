"""Gives a task the rows that a recipe names: files or a data set, and the names of columns."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from draftmark.config.sections import TaskRows
from draftmark.data.prompt_formats import FORMATS
from draftmark.errors import UserError
from draftmark.types import HubData, Row, Task

Columns = Mapping[str, str | tuple[str, ...]]


def task_with_rows(task: Task, rows: TaskRows | None) -> Task:
    """Return the task with the rows that a recipe names; as it is without any.

    Raises UserError for a format of a task whose rows have one format alone.
    """
    if rows is None:
        return task
    if rows.format != "auto" and task.format_of is None:
        raise UserError(
            f"rows.{task.name}.format = {rows.format!r}, but rows of {task.name} have one format; "
            "leave the key out, or name the columns in rows.<task>.columns."
        )
    layout = partial(to_layout, columns=rows.columns, form=rows.format)
    if rows.dataset and rows.revision:
        hub = HubData(rows.dataset, rows.files, rows.revision, rows.splits)
        return replace(task, hub=hub, files={}, rows=None, layout=layout)
    paths = {split: Path(path).expanduser() for split, path in rows.paths.items()}
    return replace(task, files=paths, rows=None, layout=layout, lines_of_text=rows.format == "text")


def to_layout(row: Row, columns: Columns, form: str) -> Row:
    """Return a row with the task's column names, and no column of another format than `form`.

    Raises ValueError if the row lacks a column.
    """
    named = {name: _column(row, place) for name, place in columns.items()}
    others = set(FORMATS) - {form} if form in FORMATS else set()
    return {name: value for name, value in {**row, **named}.items() if name not in others}


def _column(row: Row, place: str | tuple[str, ...]) -> object:
    """Return the value of a column; of several, their texts with an empty line between."""
    names = (place,) if isinstance(place, str) else place
    for name in names:
        if name not in row:
            raise ValueError(f"no column {name!r} (its columns: {', '.join(map(repr, row))})")
    if isinstance(place, str):
        return row[place]
    texts = [row[name] for name in place]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"columns {', '.join(place)} are joined, but not all are text")
    return "\n\n".join(text for text in texts if text.strip())
