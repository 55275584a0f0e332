"""Facts that must be equal before two runs are compared, and their differences.

Facts determine acceptance: the recipe, the rows, the target, versions and hardware, and what made
the drafts (`made_by`); costs and speed settings do not count. The user *declares* an intended
difference by the fact's name or a leading part of it: "hardware" covers "hardware.cores". A recipe
key at its default equals a missing key, so numbers accepted before draftmark had the key stay
comparable.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter

from draftmark import registry
from draftmark.analysis.gate.made_by import KINDS, known_to_both, made_by
from draftmark.config.recipe import MethodEntry, Recipe
from draftmark.config.validation import section_of
from draftmark.errors import UserError
from draftmark.results import Results

# Runs are compared because these differ: they are stated, and need no declaration.
ALWAYS = ("git", "project", *KINDS)
# Recipe keys that no acceptance rate depends on.
_LEFT_OUT = ("title", "speed")
_OF_DATA = (
    *("task_version", "target", "target_digest", "draft", "rows", "source", "digest"),
    *("max_new_tokens", "end_tokens"),
)
# Facts that change with the number of test rows; prompts are then paired by name.
_BY_SIZE = ("recipe.data.test_rows", "rows.test", "digest.test")
# Prefixes of names, the most important first.
_WEIGHTS = (
    *("weights.", "code.", "plugins.", "counting."),
    *("data.", "recipe.data", "recipe.pairs", "recipe.evaluation", "recipe.prompting"),
    *("recipe.training", "recipe.", "git", "project", "versions.", "threads", "hardware."),
    "python",
)


@dataclass(frozen=True)
class Difference:
    """A fact that differs between two runs; None if a run lacks the fact."""

    name: str
    before: str | None
    now: str | None

    def __str__(self) -> str:
        return f"{self.name} ({self.values(', now ')})"

    def values(self, between: str) -> str:
        """Return both values, shortened."""
        return f"{_short(self.before)}{between}{_short(self.now)}"


def run_facts(results: Results) -> dict[str, str]:
    """Return the facts of a run that determine acceptance, by name."""
    found = _recipe_facts(results.recipe, results.recipe)
    for item in results.data:
        kept = {name: item[name] for name in _OF_DATA if name in item}
        found |= dict(_flat(f"data.{item['task']}.{item['pair']}", kept))
    return found | _environment_facts(results) | dict(_flat("", made_by(results)))


def default_facts(results: Results) -> dict[str, str]:
    """Return the facts of the run's recipe with every optional key at its default."""
    return _recipe_facts(results.recipe, _defaults(Recipe, results.recipe))


def _recipe_facts(recipe: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts of recipe-shaped values; pairs and methods are keyed by name."""
    named = {name: item for name, item in values.items() if name not in _LEFT_OUT}
    for name, key in (("pairs", "name"), ("methods", "label")):
        called = [item.get(key) or item["name"] for item in recipe.get(name, ())]
        named[name] = dict(zip(called, values.get(name, ()), strict=True))
    return dict(_flat("recipe", named))


def _defaults(section: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a recipe section, in the shape of its stored values."""
    found = _knob_defaults(str(values.get("name"))) if section is MethodEntry else {}
    for name, field in section.model_fields.items():
        inner, value = section_of(field.annotation), values.get(name)
        if inner and isinstance(value, Mapping):
            found[name] = _defaults(inner, value)
        elif inner and isinstance(value, list | tuple):
            found[name] = [_defaults(inner, item) for item in value if isinstance(item, Mapping)]
        elif not field.is_required():
            default = field.get_default(call_default_factory=True)
            found[name] = TypeAdapter(Any).dump_python(default, mode="json")
    return found


def _knob_defaults(name: str) -> dict[str, Any]:
    """Return the defaults of a method's knobs; empty if its plug-in is not installed."""
    try:
        method = registry.find_registered("baselines", name)
    except UserError:
        return {}
    return {
        field.name: TypeAdapter(Any).dump_python(field.default, mode="json")
        for field in dataclasses.fields(method)
        if field.default is not dataclasses.MISSING
    }


def by_weight(found: Sequence[Difference]) -> list[Difference]:
    """Return differences, the most important first: data, then recipe, then environment."""

    def weight(item: Difference) -> int:
        return next(
            (place for place, start in enumerate(_WEIGHTS) if item.name.startswith(start)), 0
        )

    return sorted(found, key=weight)


def fact_differences(
    before: Mapping[str, str], now: Mapping[str, str], default: Mapping[str, str]
) -> list[Difference]:
    """Return every fact that differs; `default` replaces a fact that one side lacks."""
    return [
        Difference(name, before.get(name), now.get(name))
        for name in dict.fromkeys([*before, *now])
        if before.get(name, default.get(name)) != now.get(name, default.get(name))
        and known_to_both(name, before, now)
    ]


def run_differences(before: Results, now: Results) -> list[Difference]:
    """Return every fact that differs between two runs."""
    return fact_differences(
        run_facts(before), run_facts(now), default_facts(before) | default_facts(now)
    )


def undeclared_differences(
    found: Sequence[Difference], declared: Sequence[str]
) -> list[Difference]:
    """Return the differences that no declared name covers.

    A different number of test rows, and facts that follow from it, need no declaration.
    """
    names = [*ALWAYS, *declared]
    implied = _BY_SIZE if any(item.name == _BY_SIZE[0] for item in found) else ()
    return [
        item
        for item in found
        if not item.name.endswith(implied)
        and not any(item.name == name or item.name.startswith(f"{name}.") for name in names)
    ]


def _environment_facts(results: Results) -> dict[str, str]:
    """Return the versions, hardware and commits that produced the drafts and scores."""
    entries = [
        entry["manifest"]
        for row in results.results
        for entry in row.provenance.get("entries", ())
        if entry["manifest"] and entry["stage"] in ("draft", "scores")
    ]
    found: dict[str, dict[str, None]] = {}
    own = {name: value for name, value in results.manifest.items() if name not in KINDS}
    for manifest in entries or [own]:
        for name, value in _flat("", manifest):
            found.setdefault(name, {})[value] = None
    return {name: " and ".join(sorted(values)) for name, values in found.items()}


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), item)
    else:
        yield name, json.dumps(value)


def _short(value: str | None) -> str:
    if value is None:
        return "none"
    return value if len(value) <= 60 else f"{value[:57]}..."
