"""Writes a recipe as TOML, with the keys that it sets."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from draftmark.config.recipe import Recipe

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_REMOVED_BY_FALSE = ("speed", "budget")  # TOML has no null


def recipe_toml(recipe: Recipe) -> str:
    """Return a recipe as TOML; the file is the same recipe again."""
    document = recipe.model_dump(mode="json", exclude_unset=True)
    plain = {name: value for name, value in document.items() if not _is_section(value)}
    parts = ["\n".join(_lines(plain))]
    for name, value in document.items():
        if isinstance(value, dict):
            parts.append("\n".join([f"[{name}]", *_lines(value)]))
        elif _is_section(value):
            parts += ["\n".join([f"[[{name}]]", *_lines(entry)]) for entry in value]
    return "\n\n".join(parts) + "\n"


def _is_section(value: Any) -> bool:
    """True for a table, and for a list of tables."""
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    )


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield `key = value` for each key of a table that has a value."""
    for name, value in table.items():
        key = name if _BARE.fullmatch(name) else _text(name)
        if value is not None:
            yield f"{key} = {_value(value)}"
        elif name in _REMOVED_BY_FALSE:
            yield f"{key} = false"


def _value(value: Any) -> str:
    match value:
        case dict():
            return f"{{ {', '.join(_lines(value))} }}" if value else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case str():
            return _text(value)
        case bool():
            return "true" if value else "false"
    return repr(value)


def _text(value: str) -> str:
    """Return a basic string: JSON's escapes are TOML's, and TOML escapes DEL too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
