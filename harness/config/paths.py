"""Paths in a recipe file: `~` is the home folder, and others start at the recipe's folder.

Models have names as well as folders. A model's value is a path if it begins with `~`, `.` or `/`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MODEL_KEYS = ("target", "model", "head")
_PATH_STARTS = ("~", ".", "/")


def with_paths(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a recipe's document with absolute paths; `folder` is the recipe's.

    A model's path that is not there is left as it is: it may start at the working directory. Values
    of other types are left to validation.
    """
    changed = dict(document)
    for section in ("pairs", "methods"):
        if isinstance(entries := document.get(section), list):
            changed[section] = [_with_models(entry, folder) for entry in entries]
    if isinstance(rows := document.get("rows"), dict):
        changed["rows"] = {task: _with_files(own, folder) for task, own in rows.items()}
    return changed


def _with_models(entry: Any, folder: Path) -> Any:
    """Return a table with the paths of its models, and those of the tables in it."""
    if not isinstance(entry, dict):
        return entry
    return {
        key: _model_path(value, folder)
        if key in _MODEL_KEYS and isinstance(value, str)
        else _with_models(value, folder)
        for key, value in entry.items()
    }


def _model_path(value: str, folder: Path) -> str:
    if not value.startswith(_PATH_STARTS):
        return value
    path = _absolute(value, folder)
    return str(path) if path.exists() or value.startswith("~") else value


def _with_files(rows: Any, folder: Path) -> Any:
    match rows:
        case {"file": str(file)}:
            return {**rows, "file": str(_absolute(file, folder))}
        case {"file": {**files}}:
            paths = {
                split: str(_absolute(file, folder)) if isinstance(file, str) else file
                for split, file in files.items()
            }
            return {**rows, "file": paths}
    return rows


def _absolute(value: str, folder: Path) -> Path:
    """Return a path that starts at a folder, if it is relative, as an absolute one."""
    return Path(os.path.realpath(folder / Path(value).expanduser()))  # also of a loop of links
