"""Outcomes that commands store as JSON beside results, and their rendering in reports."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from draftmark.errors import UserError

Facts = Mapping[str, Any]


def render_outcome(
    path: Path, command: str, render: Callable[[Facts], dict[str, str]]
) -> dict[str, str]:
    """Return the files that `render` makes of a stored outcome.

    Raises UserError, which names the command that writes the file, if it is missing or malformed.
    """
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}; run {command} {path.parent} first.")
    try:
        return render(json.loads(path.read_text("utf-8")))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}); run {command} again.") from error
