"""Outcomes that a command stores as JSON beside results, for its report to render."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from draftmark.errors import UserError

Facts = Mapping[str, Any]


def render_outcome(
    path: Path, command: str, render: Callable[[Facts], dict[str, str]]
) -> dict[str, str]:
    """Return the files that `render` makes of an outcome.

    Raises UserError if the file is missing or malformed; it names the command that writes it.
    """
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}; run {command} {path.parent} first.")
    try:
        return render(json.loads(path.read_text("utf-8")))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}); run {command} again.") from error
