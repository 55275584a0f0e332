"""What a recipe's keys stand at where nothing is said: a key at its default is a key left out.

So numbers that were accepted before draftmark knew a key can be compared with those of a recipe
that has it, as long as nobody has set it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter

from draftmark import registry
from draftmark.config.recipe import MethodEntry, Recipe
from draftmark.config.validation import section_of
from draftmark.errors import UserError


def defaults(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a recipe as results hold it, in the recipe's own shape.

    A section that the recipe leaves out has its own default; what must be said has none.
    """
    return _of(Recipe, recipe)


def _of(section: type[BaseModel], told: Mapping[str, Any]) -> dict[str, Any]:
    found = _knobs(told) if section is MethodEntry else {}
    for name, field in section.model_fields.items():
        inner, value = section_of(field.annotation), told.get(name)
        if inner and isinstance(value, Mapping):
            found[name] = _of(inner, value)
        elif inner and isinstance(value, list | tuple):
            found[name] = [_of(inner, item) for item in value]
        elif not field.is_required():
            default = field.get_default(call_default_factory=True)
            found[name] = TypeAdapter(Any).dump_python(default, mode="json")
    return found


def _knobs(told: Mapping[str, Any]) -> dict[str, Any]:
    try:
        method = registry.find("baselines", str(told.get("name")))
    except UserError:  # a plug-in's that is not here
        return {}
    return {
        field.name: TypeAdapter(Any).dump_python(field.default, mode="json")
        for field in dataclasses.fields(method)
        if field.default is not dataclasses.MISSING
    }
