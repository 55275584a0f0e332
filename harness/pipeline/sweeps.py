"""Sweeps: a list in a method's entry, where the knob takes one value, is an entry for each value.

`keep = [0.2, 0.4]` of the entry "adaspec" becomes the entries "adaspec, keep 0.2" and "adaspec,
keep 0.4", which a recipe stores. Names of the swept entry, in `against` and in `by_task`, stand for
all of them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from draftmark import registry
from draftmark.config.recipe import MethodEntry
from draftmark.errors import UserError
from draftmark.speculation.methods import takes_list


def expand_sweeps(document: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's document with an entry for each value of each swept knob.

    Raises UserError for two lists in an entry, and for an empty one. Malformed parts are left to
    validation.
    """
    entries = document.get("methods")
    if not isinstance(entries, list):
        return document
    expanded = [(entry, list(_expanded(entry))) for entry in entries]
    if all(len(found) == 1 and found[0] is entry for entry, found in expanded):
        return document
    titles = {_title(entry): [_title(each) for each in found] for entry, found in expanded}
    methods = [_with_all(each, titles) for _, found in expanded for each in found]
    changed = {**document, "methods": methods}
    if isinstance(tasks := document.get("by_task"), dict):
        changed["by_task"] = {task: _own_methods(own, titles) for task, own in tasks.items()}
    return changed


def _expanded(entry: Any) -> Iterator[Any]:
    """Yield an entry as it is, or one for each value of its swept knob."""
    swept = list(_swept_knobs(entry))
    if len(swept) > 1:
        raise UserError(
            f"method {_title(entry)!r} has lists for {' and '.join(swept)}; sweep one knob in an "
            "entry, and write an entry for each value of the other."
        )
    if not swept:
        yield entry
        return
    (knob,) = swept
    if not entry[knob]:
        raise UserError(f"method {_title(entry)!r}: {knob} = [] has no value to try; name some.")
    for value in entry[knob]:
        shown = value if isinstance(value, str) else json.dumps(value, default=str)
        label = f"{_title(entry)}, {knob} {shown}"
        yield {**entry, knob: value, "label": label, "sweep": knob}


def _swept_knobs(entry: Any) -> Iterator[str]:
    """Yield the knobs of an entry that have a list and take a single value."""
    name = entry.get("name") if isinstance(entry, dict) else None
    if name not in registry.registered_names("baselines"):
        return
    for knob, value in entry.items():
        listed = isinstance(value, list) and knob not in MethodEntry.model_fields
        if listed and takes_list(name, knob) is False:
            yield knob


def _title(entry: Any) -> str:
    return str(entry.get("label") or entry.get("name")) if isinstance(entry, dict) else ""


def _with_all(entry: Any, titles: Mapping[str, list[str]]) -> Any:
    """Return an entry that is compared with all entries of a sweep it names."""
    match entry:
        case {"against": [*names]}:
            return {**entry, "against": list(_all(names, titles))}
    return entry


def _all(names: Iterable[Any], titles: Mapping[str, list[str]]) -> Iterator[Any]:
    """Yield names, those of a swept entry as the titles of its entries."""
    for name in names:
        yield from titles.get(name) or [name]


def _own_methods(own: Any, titles: Mapping[str, list[str]]) -> Any:
    """Return a task's overrides, with those of a swept entry for each of its values."""
    match own:
        case {"methods": {**methods}}:
            changed = {
                one: value for title, value in methods.items() for one in _all([title], titles)
            }
            return {**own, "methods": changed}
    return own
