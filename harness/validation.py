"""Closed sections of a recipe, and what a person is told when one does not fit."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import UserError, unknown

S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """A part of a recipe: immutable, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def validated(section: type[S], document: Mapping[str, Any], origin: str) -> S:
    """Return the section that a document gives; raises UserError naming `origin` and the key."""
    try:
        return section.model_validate(document)
    except ValidationError as error:
        raise UserError(explain(error, origin, section)) from error


def explain(error: ValidationError, origin: str, section: type[Section] | None = None) -> str:
    """Return one sentence for the first thing that is wrong, with the nearest known key."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        choices = _fields_at(section, first["loc"][:-1])
        return f"{origin}: {unknown('key', place, choices)}"
    message = first["msg"].removeprefix("Value error, ")
    value = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
    return f"{origin}: {place or 'recipe'}: {message}{value}."


def _fields_at(section: type[Section] | None, place: tuple[int | str, ...]) -> list[str]:
    """Return the dotted names of the known keys beside the one at `place`."""
    known: Any = section
    for part in place:
        # What is no field is the name of an entry in a table of sections.
        if isinstance(part, str) and known is not None and part in known.model_fields:
            known = _section_in(known.model_fields[part].annotation)
    prefix = "".join(f"{part}." for part in place)
    return [prefix + name for name in known.model_fields] if known is not None else []


def _section_in(annotation: Any) -> type[Section] | None:
    """Return the Section inside an annotation such as `tuple[Pair, ...]` or `Speed | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation  # type: ignore[return-value]  # MethodEntry is open, the rest Sections
    inner = (_section_in(part) for part in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found is not None), None)
