"""Accepted numbers: a run's counts per prompt, blessed with a reason, to gate later runs.

They are one small JSON file: counts, names of prompts, the facts that a later run must share, and
the history of acceptances with reasons. The file holds no text of prompts or outputs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from draftmark.analysis.count_columns import Columns, is_countable
from draftmark.analysis.gate.comparable import run_facts
from draftmark.analysis.gate.made_by import drafted_counting
from draftmark.analysis.quantities import DEFINITIONS, RATES, rate_bounds
from draftmark.analysis.statistics import over_seeds
from draftmark.analysis.stored_counts import COLUMNS, StoredCounts, stored_counts
from draftmark.config.validation import Section, explain_error
from draftmark.errors import UserError
from draftmark.results import Contender, Results
from draftmark.store.files import write_atomically
from draftmark.store.plain_files import read_plain
from draftmark.text import printable_text
from draftmark.types import MAX_GAMMA, Verification

FORMAT = 1
_ROUNDING = 1e-3  # tokens, of a count


class _Rate(Section):
    value: float
    low: float | None
    high: float | None
    n: int


class _Event(Section):
    date: str
    commit: str | None
    reason: str
    numbers: Mapping[str, _Rate]


class _Cell(Section):
    task: str
    pair: str
    method: str
    temperature: Annotated[float, Field(ge=0)]
    seeds: Annotated[
        Mapping[str, Mapping[str, tuple[Annotated[float, Field(ge=0)], ...]]], Field(min_length=1)
    ]


class _Document(Section):
    """The file of accepted numbers."""

    format: Literal[1]
    gamma: Annotated[int, Field(ge=1, le=MAX_GAMMA)]
    declared: tuple[str, ...]
    history: tuple[_Event, ...]
    facts: Mapping[str, str]
    prompts: Mapping[str, tuple[str, ...]]
    cells: tuple[_Cell, ...]
    verification: Verification = "standard"


@dataclass(frozen=True)
class Accepted:
    """Accepted counts and facts, with the history of acceptances."""

    gamma: int
    declared: tuple[str, ...]  # facts that may differ in later runs
    facts: Mapping[str, str]
    measured: tuple[StoredCounts, ...]
    history: tuple[Mapping[str, Any], ...] = ()  # the newest last
    verification: Verification = "standard"  # the rule by which blocks were counted


def accept_run(
    results: Results,
    directory: Path,
    *,
    reason: str,
    date: str,
    methods: Sequence[str] | None = None,
    declared: Sequence[str] = (),
    before: Accepted | None = None,
) -> Accepted:
    """Return the accepted numbers of a run, with the history of `before`.

    Raises UserError if the reason is empty, if cells failed, if the run has fairness errors, or if
    it has no numbers of the methods.
    """
    if not reason.strip():
        raise UserError("Accepting numbers needs a reason; say why they are right with --reason.")
    for row in results.results:
        if row.failure and (methods is None or row.cell.method in methods):
            raise UserError(
                f"{printable_text(row.cell.method)} on {row.cell.task} failed "
                f"({printable_text(row.failure)}); fix it and run again, or accept "
                "other methods alone with --methods."
            )
    refuse_unfit(results)
    found = stored_counts(results, directory)
    known = list(dict.fromkeys(item.contender.method for item in found))
    for name in methods or ():
        if name not in known:
            raise UserError(
                f"Unknown method {name!r}. This run has numbers of: {', '.join(known) or 'none'}."
            )
    if not found:
        raise UserError("The run has no numbers to accept; run a recipe with a task and a method.")
    wanted = tuple(it for it in found if methods is None or it.contender.method in methods)
    known_facts, project = run_facts(results), results.manifest.get("project")
    commits = known_facts.get("git.commit", "null").replace('"', "")  # several: joined with "and"
    event = {
        "date": date,
        "commit": project["commit"] if project else None if commits == "null" else commits,
        "reason": reason.strip(),
        "numbers": dict(_numbers(wanted)),
    }
    history = (*(before.history if before else ()), event)
    gamma = results.recipe["evaluation"]["num_speculative_tokens"]
    return Accepted(gamma, tuple(declared), known_facts, wanted, history, results.verification)


def was_before(name: str, before: Accepted | None, now: Accepted) -> str:
    """Return the rate that was accepted before, in brackets; empty if there was none.

    It is marked as not comparable if it divides by drafted tokens that were counted otherwise.
    """
    earlier = before.history[-1]["numbers"] if before and before.history else {}
    if before is None or name not in earlier:
        return ""
    counted = drafted_counting(before.facts)
    divides = "drafted" in RATES[name.split()[-1]]
    unlike = divides and counted != drafted_counting(now.facts)
    how = f", not comparable: drafted tokens counted {counted}" if unlike else ""
    return f"(was {earlier[name]['value']:.4f}{how})"


def refuse_unfit(results: Results) -> None:
    """Raise UserError if a run has a finding of severity "error"."""
    for finding in results.findings:
        if finding.severity == "error":
            raise UserError(
                f"The run cannot be compared ({printable_text(finding.subject)}: "
                f"{printable_text(finding.text)}); fix that and run it again."
            )


def _numbers(found: Sequence[StoredCounts]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each rate with its interval, for the history."""
    for item in found:
        for rate in RATES:
            counts = item.counts(rate, item.units)
            if all(bottom_B.sum() for _, bottom_B in counts):
                bounds = rate_bounds(rate, item.gamma)
                number = asdict(over_seeds(counts, DEFINITIONS[rate], bounds))
                shown = {key: number[key] for key in ("value", "low", "high", "n")}
                yield f"{item.name} {rate}", shown


def save_accepted(accepted: Accepted, path: Path) -> None:
    """Write accepted numbers to a file atomically, one line per cell."""
    document = {
        "format": FORMAT,
        "gamma": accepted.gamma,
        "declared": accepted.declared,
        "history": accepted.history,
        "facts": accepted.facts,
        "prompts": {item.contender.task: item.prompts for item in accepted.measured},
    }
    if accepted.verification != "standard":  # files of the standard rule stay as they were
        document["verification"] = accepted.verification
    cells = [
        {**asdict(item.contender), "temperature": item.temperature, "seeds": {**item.seeds}}
        for item in accepted.measured
    ]
    lines = [f'"{key}": {json.dumps(value)}' for key, value in document.items()]
    lines.append('"cells": [\n' + ",\n".join(map(json.dumps, cells)) + "\n]")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, ("{" + ",\n".join(lines) + "}\n").encode())


def load_accepted(path: Path) -> Accepted:
    """Return the accepted numbers of a file; raises UserError if it is missing or invalid."""
    if not path.is_file():
        raise UserError(f"There is no {path}; accept a run's numbers first with draftmark bless.")
    try:
        document = _Document.model_validate_json(read_plain(path), strict=True)
        return Accepted(
            gamma=document.gamma,
            declared=document.declared,
            facts=document.facts,
            measured=tuple(_measured(cell, document) for cell in document.cells),
            history=tuple(event.model_dump() for event in document.history),
            verification=document.verification,
        )
    except ValidationError as error:
        sentence = explain_error(error, f"{path} cannot be read", _Document)
        raise UserError(f"{sentence.removesuffix('.')}; bless a run anew.") from error
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} cannot be read ({error}); bless a run anew.") from error


def _measured(cell: _Cell, document: _Document) -> StoredCounts:
    names = document.prompts[cell.task]
    seeds = {int(seed): {name: cell.seeds[seed][name] for name in COLUMNS} for seed in cell.seeds}
    if any(len(column) != len(names) for columns in seeds.values() for column in columns.values()):
        raise ValueError(f"{cell.method} must have one count per prompt")
    for columns in seeds.values():
        _check_counts(cell.method, {name: np.array(column) for name, column in columns.items()})
    contender = Contender(cell.task, cell.pair, cell.method)
    return StoredCounts(contender, cell.temperature, names, seeds, document.gamma)


def _check_counts(method: str, columns: Columns) -> None:
    """Raise ValueError for counts that no run has; a server may leave some of them at 0."""
    if not is_countable(columns):
        raise ValueError(f"{method} has a count that is not finite, or larger than any text")
    for part, whole in (("accepted", "tested"), ("accepted", "drafted"), ("tested", "drafted")):
        most_B = columns[whole] + _ROUNDING
        if columns[whole].any() and (columns[part] > most_B).any():
            raise ValueError(f"{method} has more tokens {part} than {whole}")
