"""Facts that must be equal for two runs to be compared, and where they differ.

Facts are what decides acceptance: the recipe, the rows, the target, versions and hardware; costs
and speed settings are left out. A difference that is meant is *declared*, by the fact's name or the
start of it: "hardware" covers "hardware.cores". A recipe's key at its default equals a key left
out, so that numbers accepted before draftmark knew a key stay comparable.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter

from draftmark import registry
from draftmark.config.recipe import MethodEntry, Recipe
from draftmark.config.validation import section_of
from draftmark.errors import UserError
from draftmark.results import Results

ALWAYS = ("git", "project")  # another commit is what two runs are compared for
# Of the recipe: its name, and settings that no acceptance rate depends on.
_LEFT_OUT = ("title", "speed")
_OF_DATA = (
    *("task_version", "target", "target_digest", "draft", "rows", "source", "digest"),
    *("max_new_tokens", "end_tokens"),
)
# The number of test rows changes these; prompts are then paired by their names.
_BY_SIZE = ("recipe.data.test_rows", "rows.test", "digest.test")
# Starts of names, the most important first.
_WEIGHTS = (
    *("data.", "recipe.data", "recipe.pairs", "recipe.evaluation", "recipe.prompting"),
    *("recipe.training", "recipe.", "git", "project", "versions.", "threads", "hardware."),
    "python",
)


@dataclass(frozen=True)
class Difference:
    """A fact in which two runs differ; None where a run has no such fact."""

    name: str
    before: str | None
    now: str | None

    def __str__(self) -> str:
        return f"{self.name} ({_short(self.before)}, now {_short(self.now)})"


def run_facts(results: Results) -> dict[str, str]:
    """Return the facts that decide a run's acceptance, by name."""
    found = _recipe_facts(results.recipe, results.recipe)
    for item in results.data:
        kept = {name: item[name] for name in _OF_DATA if name in item}
        found |= dict(_flat(f"data.{item['task']}.{item['pair']}", kept))
    return found | _environment_facts(results)


def default_facts(results: Results) -> dict[str, str]:
    """Return the facts of the same recipe with every key at its default; required keys have none"""
    return _recipe_facts(results.recipe, _defaults(Recipe, results.recipe))


def _recipe_facts(recipe: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, str]:
    """Return values in a recipe's shape, pairs and methods keyed by their names in the recipe."""
    named = {name: item for name, item in values.items() if name not in _LEFT_OUT}
    for name, key in (("pairs", "name"), ("methods", "label")):
        called = [item.get(key) or item["name"] for item in recipe.get(name, ())]
        named[name] = dict(zip(called, values.get(name, ()), strict=True))
    return dict(_flat("recipe", named))


def _defaults(section: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a recipe's section, in the shape of its stored values."""
    found = _knob_defaults(str(values.get("name"))) if section is MethodEntry else {}
    for name, field in section.model_fields.items():
        inner, value = section_of(field.annotation), values.get(name)
        if inner and isinstance(value, Mapping):
            found[name] = _defaults(inner, value)
        elif inner and isinstance(value, list | tuple):
            found[name] = [_defaults(inner, item) for item in value]
        elif not field.is_required():
            default = field.get_default(call_default_factory=True)
            found[name] = TypeAdapter(Any).dump_python(default, mode="json")
    return found


def _knob_defaults(name: str) -> dict[str, Any]:
    """Return the defaults of a method's knobs; none of a plug-in that is not installed."""
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
    """Return every fact that differs; a fact that one side lacks has its `default` there."""
    return [
        Difference(name, before.get(name), now.get(name))
        for name in dict.fromkeys([*before, *now])
        if before.get(name, default.get(name)) != now.get(name, default.get(name))
    ]


def run_differences(before: Results, now: Results) -> list[Difference]:
    """Return every fact in which two runs differ."""
    return fact_differences(
        run_facts(before), run_facts(now), default_facts(before) | default_facts(now)
    )


def undeclared_differences(
    found: Sequence[Difference], declared: Sequence[str]
) -> list[Difference]:
    """Return the differences that no declared name covers.

    Another number of test rows needs no declaring, nor the facts that follow from it.
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
    """Return versions, hardware and commit that drafts and scores were computed with."""
    entries = [
        entry["manifest"]
        for row in results.results
        for entry in row.provenance.get("entries", ())
        if entry["manifest"] and entry["stage"] in ("draft", "scores")
    ]
    found: dict[str, dict[str, None]] = {}
    for manifest in entries or [results.manifest]:
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
