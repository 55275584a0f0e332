"""What runs must share before their cells stand in one table; what differs is refused by name.

The hashes of the target's files, of the test rows and of the target's texts decide, and the
settings of the evaluation. Machines, dates, commits, package versions, and how a method was trained
elsewhere may differ.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from draftmark.analysis.merging.parts import Part
from draftmark.analysis.stored_counts import COLUMNS, stored_cell
from draftmark.config.recipe import MethodEntry, Recipe
from draftmark.errors import UserError
from draftmark.results import Cell, Result
from draftmark.text import printable_text

# Facts of a task and pair that decide what the cells of all methods were measured on.
_OF_DATA = ("task_version", "max_new_tokens", "end_tokens", "stop", "draft", "target_digest")
_OTHER = "run a recipe again with the settings of the others, or merge these runs apart"
_LABEL = "give one of the methods a label, or leave a run out"
_Value = tuple[str, str]  # the label of a run, the value there


def require_agreement(parts: Sequence[Part]) -> None:
    """Raise UserError, with each run's value and the fix, if runs differ in what they must share.

    A cell that stands in two runs must have the same counts there.
    """
    for facts, fix in ((_shared_facts, _OTHER), (_method_facts, _LABEL)):
        found: dict[str, list[_Value]] = {}
        for part in parts:
            for name, value in facts(part):
                found.setdefault(name, []).append((part.label, json.dumps(value, sort_keys=True)))
        differing = {name: v for name, v in found.items() if len({value for _, value in v}) > 1}
        if differing:
            raise _refused(differing, fix)
    _require_same_texts(parts)
    for first, second in combinations(parts, 2):
        for cell, row in first.cells.items():
            _require_same_counts(first, row, second, second.cells.get(cell))


def _refused(differing: Mapping[str, Sequence[_Value]], fix: str) -> UserError:
    name, values = next(iter(differing.items()))
    also = f" Also different: {', '.join([*differing][1:6])}." if len(differing) > 1 else ""
    return UserError(f"The runs differ in {name}: {_in_words(values)}; {fix}.{also}")


def _in_words(values: Sequence[_Value]) -> str:
    of_value: dict[str, str] = {}
    for label, value in values:
        of_value.setdefault(value, label)
    return ", ".join(f"{printable_text(v, 80)} in {label}" for v, label in of_value.items())


def _shared_facts(part: Part) -> Iterator[tuple[str, Any]]:
    """Yield the settings of texts and evaluation, and the facts of each task and pair."""
    document = part.recipe.model_dump(mode="json")
    for section in ("evaluation", "prompting", "responses"):
        values = {name: v for name, v in document.get(section, {}).items() if name != "styles"}
        yield from flat(section, values)
    for pair in document["pairs"]:
        # The target's name may be a path; the hash of its files decides.
        named = {key: value for key, value in pair.items() if key not in ("name", "target")}
        yield from flat(f"pair {pair['name']}", named)
    for facts in part.record.data:
        where = f"{facts['task']}, {facts['pair']}"
        for name in _OF_DATA:
            if name in facts:  # old runs have fewer
                yield f"{name} of {where}", facts[name]
        yield f"test rows of {where} (hash)", facts["digest"]["test"]
        if not facts.get("fine_tuning"):
            yield f"target of {facts['pair']} (hash of its files)", facts["target_digest"]


def _method_facts(part: Part) -> Iterator[tuple[str, Any]]:
    """Yield the settings of each method on each task, and what no task may have otherwise."""
    for entry in part.recipe.methods:
        yield f"the method called {entry.title}", entry.name
        draft = entry.draft and entry.draft.model_dump(mode="json")
        yield f"the draft of {entry.title}", draft
    for task in dict.fromkeys(row.cell.task for row in part.rows):
        own = part.recipe.for_task(task)
        for entry in own.methods:
            training = own.training_of(entry).key_settings()
            yield from flat(f"{entry.title} on {task}", {**entry.knobs, "training": training})


def settings_of(recipe: Recipe, entry: MethodEntry) -> dict[str, Any]:
    """Return the knobs of a method and all of its training settings."""
    training = recipe.training_of(entry).model_dump(mode="json")
    return {**entry.model_dump(mode="json", include=set(entry.knobs)), "training": training}


def flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values in nested tables, by their names with dots between."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(f"{name}.{key}", inner)
    else:
        yield name, value


def _require_same_texts(parts: Sequence[Part]) -> None:
    """Raise UserError if cells of a task and pair were scored on different texts.

    Old runs have no hash of the texts; then the keys of their stages decide.
    """
    found: dict[str, list[tuple[str, str, str]]] = {}
    for part in parts:
        for row in part.done:
            digests, keys = row.provenance.get("text_digests", {}), dict(_text_keys(row))
            for at in {**digests, **keys}:
                name = f"texts of {row.cell.task}, {row.cell.pair} at temperature {at} (hash)"
                texts = part.label, digests.get(at, ""), keys.get(at, "")
                found.setdefault(name, []).append(texts)
    for name, several in found.items():
        hashed = all(digest for _, digest, _ in several)
        values = [(label, digest if hashed else key) for label, digest, key in several]
        if len({value for _, value in values}) > 1:
            raise _refused({name: values}, _OTHER)


def _text_keys(row: Result) -> Iterator[tuple[str, str]]:
    """Yield each temperature at which a cell was scored, with the key of the texts' stage."""
    for entry in row.provenance.get("entries", ()):
        if entry["stage"] == "scores":
            at = entry["settings"]["samplers"]["target"]["temperature"]
            yield f"{at:g}", entry["inputs"]["features"]


def _require_same_counts(first: Part, row: Result, second: Part, other: Result | None) -> None:
    """Raise UserError if a cell has other counts in two runs; a failed one has none."""
    if other is None or row.failure or other.failure:
        return
    if first.folder / row.records == second.folder / other.records:
        return
    gamma = first.recipe.evaluation.num_speculative_tokens
    for temperature in first.recipe.evaluation.temperatures:
        one, two = (
            _counts(item, folder, temperature, gamma)
            for item, folder in ((row, first.folder), (other, second.folder))
        )
        for name in [*one, *two]:
            if one.get(name) != two.get(name):
                values = [(p.label, str(c.get(name))) for p, c in ((first, one), (second, two))]
                raise UserError(
                    f"{_cell_title(row.cell)} stands in two runs with different counts: {name} at "
                    f"temperature {temperature:g} has {_in_words(values)}; {_LABEL}."
                )


def _counts(
    row: Result, folder: Path, temperature: float, gamma: int
) -> dict[str, dict[str, float]]:
    """Return the counts of each prompt and rule of verification."""
    counted = stored_cell(row, folder, temperature)
    found: dict[str, dict[str, float]] = {}
    for rule in counted.verifications:
        counts = counted.blocks(gamma, verification=rule)
        columns = {name: getattr(counts, f"{name}_B") for name in COLUMNS}
        for place, prompt in enumerate(counted.prompts):
            name = prompt + (", block verification," if rule == "block" else "")
            found[name] = {column: float(values[place]) for column, values in columns.items()}
    return found


def _cell_title(cell: Cell) -> str:
    return f"{printable_text(cell.method)} on {cell.task}, {cell.pair}, seed {cell.seed}"
