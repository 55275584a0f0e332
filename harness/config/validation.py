"""Validates the sections of a recipe; an error is one sentence that names the key.

Types are strict, as in JSON: true is not 1, and "12" is not a number.
"""

import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from draftmark.errors import UserError, unknown_name_error
from draftmark.text import printable_text

S = TypeVar("S", bound="Section")

# TOML has no null: `speed = false` removes a section.
NoneIfFalse = BeforeValidator(lambda value: None if value is False else value)


class Section(BaseModel):
    """A part of a recipe: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def parse_toml(text: str, origin: str) -> dict[str, Any]:
    """Return a TOML document; raises UserError for invalid TOML, and for nan and inf."""
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise UserError(f"{origin} is not valid TOML: it is nested too deeply.") from error
    except ValueError as error:
        place = re.search(r"at line (\d+)", str(error))
        lines = text.split("\n")[: int(place[1]) if place else None]
        line = next((line.strip() for line in reversed(lines) if line.strip()), "")
        raise UserError(
            f"{origin} is not valid TOML: {error}: {printable_text(line, 80)}."
        ) from error
    for key, value in _values(document):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{origin}: {key} must be finite (got {value}).")
        if isinstance(value, int) and abs(value) >= 2**63:  # beyond the range that TOML promises
            raise UserError(f"{origin}: {key} must lie between -2**63 and 2**63.")
    return document


def _values(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the scalars of a document with their dotted keys."""
    inner: Iterable[tuple[Any, Any]] = ()
    match value:
        case dict():
            inner = value.items()
        case list():
            inner = enumerate(value)
        case _:
            yield key, value
    for name, item in inner:
        yield from _values(item, f"{key}.{name}" if key else str(name))


def validate_section(
    section: type[S], document: Mapping[str, Any], origin: str, at: tuple[str, ...] = ()
) -> S:
    """Return the section; raises UserError with its origin and the faulty key (below `at`)."""
    try:
        return section.model_validate(lists_to_tuples(document), strict=True)
    except ValidationError as error:
        raise UserError(explain_error(error, origin, section, at)) from error


def toml_to_json(value: Any) -> str:
    """Return a TOML value as JSON text; dates and times, which no key takes, become tables."""
    return json.dumps(value, default=lambda when: {"date or time": str(when)})


def lists_to_tuples(value: Any) -> Any:
    """Return a TOML value with its lists as tuples, which sections hold."""
    match value:
        case dict():
            return {key: lists_to_tuples(item) for key, item in value.items()}
        case list() | tuple():
            return tuple(lists_to_tuples(item) for item in value)
    return value


def explain_error(
    error: ValidationError,
    origin: str,
    section: type[Section] | None = None,
    at: tuple[str, ...] = (),
) -> str:
    """Return one sentence on the first error; it suggests a known key for an unknown one."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in (*at, *first["loc"]))
    if first["type"] == "extra_forbidden":
        prefix = "".join(f"{part}." for part in at)
        choices = [prefix + name for name in _fields_at(section, first["loc"][:-1])]
        return f"{origin}: {unknown_name_error('key', place, choices)}"
    message = first["msg"].removeprefix("Value error, ")
    value = f" (got {_with_lists(first['input'])!r})" if _is_plain(first["input"]) else ""
    return f"{': '.join(filter(None, (origin, place, message)))}{value}."


def _with_lists(value: Any) -> Any:
    return [_with_lists(item) for item in value] if isinstance(value, tuple) else value


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | list | tuple | None)


def _fields_at(section: type[Section] | None, place: tuple[int | str, ...]) -> list[str]:
    """Return the dotted names of the known keys beside the one at `place`."""
    known: Any = section
    for part in place:
        # A part that is not a field names an entry of a table of sections.
        if isinstance(part, str) and known is not None and part in known.model_fields:
            known = section_of(known.model_fields[part].annotation)
    prefix = "".join(f"{part}." for part in place)
    return [prefix + name for name in known.model_fields] if known is not None else []


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section inside an annotation such as `tuple[Pair, ...]` or `Speed | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (section_of(part) for part in getattr(annotation, "__args__", ()))
    return next((section for section in inner if section is not None), None)
