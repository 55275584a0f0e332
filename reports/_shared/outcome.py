"""Outcomes that commands store as JSON beside results, and their rendering in reports."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from draftmark.errors import UserError
from draftmark.store.reading import explained, read_json

Facts = Mapping[str, Any]


def render_outcome(
    path: Path, command: str, render: Callable[[Facts], dict[str, str]]
) -> dict[str, str]:
    """Return the files that `render` makes of a stored outcome.

    Raises UserError, which names the command that writes the file, if it is missing or malformed.
    """
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}; run {command} {path.parent} first.")
    with explained(path, f"run {command} again"):
        return render(read_json(path))
