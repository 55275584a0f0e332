"""What has to be equal for two runs to be compared: facts by name, and where they differ.

Facts are what decides acceptance: the recipe, the rows, the target, versions and hardware. What a
run took, and what its speed was measured with, are none. A difference that is meant is *declared*,
by the fact's name or the start of it: "hardware" covers "hardware.cores".
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from draftmark.analysis.gate.defaults import defaults
from draftmark.results import Results

ALWAYS = ("git", "project")  # another commit is what two runs are compared for
# Of the recipe: its name, and what no acceptance rate depends on.
_LEFT_OUT = ("title", "speed")
_OF_DATA = (
    "task_version",
    "target",
    "target_digest",
    "draft",
    "rows",
    "source",
    "digest",
    "max_new_tokens",
    "end_tokens",
)
# How many test rows there are changes these; prompts are then paired by their names.
_BY_SIZE = ("recipe.data.test_rows", "rows.test", "digest.test")

_WEIGHTS = (
    "data.",
    "recipe.data",
    "recipe.pairs",
    "recipe.evaluation",
    "recipe.prompting",
    "recipe.training",
    "recipe.",
    "git",
    "project",
    "versions.",
    "threads",
    "hardware.",
    "python",
)


@dataclass(frozen=True)
class Difference:
    """A fact that two runs do not share; None where one of them has no such fact."""

    name: str
    before: str | None
    now: str | None

    def __str__(self) -> str:
        return f"{self.name} ({_short(self.before)}, now {_short(self.now)})"


def facts(results: Results) -> dict[str, str]:
    """Return what decides a run's acceptance, by name."""
    found = _of_recipe(results.recipe, results.recipe)
    for item in results.data:
        kept = {name: item[name] for name in _OF_DATA if name in item}
        found |= dict(_flat(f"data.{item['task']}.{item['pair']}", kept))
    return found | _surroundings(results)


def standing(results: Results) -> dict[str, str]:
    """Return the facts of a recipe like this one in which every key stands at its default."""
    return _of_recipe(results.recipe, defaults(results.recipe))


def _of_recipe(recipe: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, str]:
    """Return values in a recipe's shape by name; pairs and methods by what the recipe calls them"""
    named = {name: item for name, item in values.items() if name not in _LEFT_OUT}
    for name, key in (("pairs", "name"), ("methods", "label")):
        called = [item.get(key) or item["name"] for item in recipe.get(name, ())]
        named[name] = dict(zip(called, values.get(name, ()), strict=True))
    return dict(_flat("recipe", named))


def by_weight(found: Sequence[Difference]) -> list[Difference]:
    """Return differences, those first that matter most: what is measured, then how, then where."""
    return sorted(found, key=lambda item: _weight(item.name))


def _weight(name: str) -> int:
    return next((place for place, start in enumerate(_WEIGHTS) if name.startswith(start)), 0)


def differences(
    before: Mapping[str, str], now: Mapping[str, str], default: Mapping[str, str]
) -> list[Difference]:
    """Return every fact that differs; one that is left out on a side has its `default` there."""
    return [
        Difference(name, before.get(name), now.get(name))
        for name in dict.fromkeys([*before, *now])
        if before.get(name, default.get(name)) != now.get(name, default.get(name))
    ]


def differing(before: Results, now: Results) -> list[Difference]:
    """Return every fact in which two runs differ."""
    return differences(facts(before), facts(now), standing(before) | standing(now))


def undeclared(found: Sequence[Difference], declared: Sequence[str]) -> list[Difference]:
    """Return the differences that no declared name covers.

    Of runs with different numbers of test rows, what follows from that needs no declaring.
    """
    names = [*ALWAYS, *declared]
    implied = _BY_SIZE if any(item.name == _BY_SIZE[0] for item in found) else ()
    return [
        item
        for item in found
        if not item.name.endswith(implied)
        and not any(item.name == name or item.name.startswith(f"{name}.") for name in names)
    ]


def _surroundings(results: Results) -> dict[str, str]:
    """Return versions, hardware and commit of what drafts and scores were made with."""
    made = [
        entry["manifest"]
        for row in results.results
        for entry in row.provenance.get("entries", ())
        if entry["manifest"] and entry["stage"] in ("draft", "scores")
    ]
    found: dict[str, dict[str, None]] = {}
    for manifest in made or [results.manifest]:
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
