"""A method's class is judged before it is built: a file of one's own is where people slip."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from harness import registry
from harness.errors import UserError, unknown
from harness.protocols import Method
from harness.settings.validation import as_json, explain
from harness.text import plain

_NEEDED = ("kind", "trains", "train", "drafter")  # of a Method
_BASE = "harness.drafting.methods.LanguageModelMethod"


def built(name: str, told: Mapping[str, Any], others: Iterable[str]) -> Method:
    """Return a method with its knobs as told; `others` are keys that are knobs of none.

    Raises UserError if there is no such method, its class is none, or a knob does not fit.
    """
    method = _class(name)
    known = {field.name for field in dataclasses.fields(method)}
    for knob in told:
        if knob not in known:
            raise unknown(f"knob of method {name!r}", knob, known.union(others))
    try:
        made: Method = TypeAdapter(method).validate_json(as_json(told), strict=True)
    except ValidationError as error:
        raise UserError(explain(error, f"method {name!r}")) from error
    except PydanticUserError as error:
        reason = plain(error.message.partition("\n")[0], 200)
        raise UserError(f"A knob of method {name!r} has no type of a setting: {reason}") from error
    return made


def _class(name: str) -> Any:
    """Return the class that a method's file gives, whose fields are the method's knobs."""
    found = registry.find("baselines", name)
    where = registry.module_name("baselines", name)
    if not isinstance(found, type):
        raise UserError(
            f"METHOD in {where} is {found!r:.60}, no class; name the class itself, without ()."
        )
    # In the class's own names: what derives from a dataclass is none before it is decorated.
    declared: Any = vars(found).get("__dataclass_params__")
    if declared is None or not declared.frozen:
        raise UserError(
            f"{found.__name__} in {where} is no frozen dataclass, so its knobs would not count; "
            "write @dataclass(frozen=True) above it."
        )
    missing = [part for part in _NEEDED if not hasattr(found, part)]
    if missing:
        raise UserError(
            f"{found.__name__} in {where} has no {', '.join(missing)}; define that, or derive the "
            f"class from {_BASE}, which has all but train."
        )
    return found
