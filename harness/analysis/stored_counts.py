"""Block counts per prompt of a stored run, read from the acceptance tables beside its results."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow.parquet as pq

from draftmark.analysis.cell_counts import CellCounts, TableCounts
from draftmark.analysis.published_counts import COUNTS, DECIMALS, read_cell
from draftmark.analysis.quantities import RATES, rate_bounds
from draftmark.analysis.served_counts import served_counts
from draftmark.analysis.statistics import Counts, Effect, estimate_effect
from draftmark.errors import UserError
from draftmark.results import Contender, Result, Results
from draftmark.store.acceptance_tables import Floats, read_tables
from draftmark.store.reading import explained
from draftmark.store.records import read_rows, tables_name
from draftmark.store.run_folder import verified_file
from draftmark.store.served_records import REQUESTS, ServedRequest, read_requests
from draftmark.types import MAX_GAMMA, AcceptanceTable, Verification, conversation_of

COLUMNS = ("accepted", "tested", "drafted", "tokens", "passes")
ByPrompt = tuple[float, ...]
Row = TypeVar("Row")
_MAX_DEPTH = 256  # drafted tokens of a block; MAX_GAMMA may have been another in another version


@dataclass(frozen=True)
class StoredCounts:
    """The counts per prompt of a contender at a temperature, by seed.

    They are of blocks of `gamma` drafted tokens.
    """

    contender: Contender
    temperature: float
    prompts: tuple[str, ...]
    seeds: Mapping[int, Mapping[str, ByPrompt]]  # seed -> column -> for each prompt
    gamma: int = MAX_GAMMA

    @property
    def name(self) -> str:
        """Contender and temperature in one word, as "task/pair/method/t=0"."""
        who = self.contender
        return f"{who.task}/{who.pair}/{who.method}/t={self.temperature:g}"

    @cached_property
    def units(self) -> Mapping[str, tuple[str, ...]]:
        """The prompts of each conversation; a prompt of one turn is one by itself."""
        found: dict[str, list[str]] = {}
        for prompt in self.prompts:
            found.setdefault(conversation_of(prompt), []).append(prompt)
        return {name: tuple(turns) for name, turns in found.items()}

    def counts(self, quantity: str, units: Iterable[str]) -> list[Counts]:
        """Return the numerators and denominators of a rate in each of the units, for each seed."""
        place = {prompt: index for index, prompt in enumerate(self.prompts)}
        rows = [[place[prompt] for prompt in self.units[unit]] for unit in units]
        return [
            (_sums(columns[top], rows), _sums(columns[bottom], rows))
            for columns in self.seeds.values()
            for top, bottom in [RATES[quantity]]
        ]


def _sums(values: ByPrompt, rows: Sequence[Sequence[int]]) -> Floats:
    return np.array([sum(values[place] for place in places) for places in rows])


def stored_counts(
    results: Results, directory: Path, gamma: int | None = None, draft: str | None = None
) -> list[StoredCounts]:
    """Return the counts of every contender that has numbers, at every temperature.

    Blocks have `gamma` drafted tokens, by default the recipe's, and are verified by the rule of the
    results; those of a measured server are as it drafts. With `draft` "greedy" the counts are those
    of the greedy draft, where tables have it. Raises UserError if tables are missing, or
    if seeds were measured on different prompts.
    """
    evaluation = results.recipe["evaluation"]
    rule = _Rule(gamma or evaluation["num_speculative_tokens"], results.verification)
    done = (row for row in results.results if not row.failure)
    found = [
        _measured(contender, seeds, directory, temperature, rule, draft)
        for contender, rows in groupby(done, key=lambda row: row.cell.contender)
        for seeds in [list(rows)]
        for temperature in evaluation["temperatures"]
    ]
    return [item for item in found if item]


class _Rule(NamedTuple):
    """How blocks are counted."""

    gamma: int
    verification: Verification


def _measured(
    contender: Contender,
    rows: Sequence[Result],
    directory: Path,
    temperature: float,
    rule: _Rule,
    draft: str | None,
) -> StoredCounts | None:
    """Return the counts of a contender's seeds; None if a seed has no tables of this draft."""
    prompts: tuple[str, ...] = ()
    seeds = {}
    for row in rows:
        if requests := stored_requests(row, directory):
            return _served(row, requests, temperature) if draft is None else None
        counted = stored_cell(row, directory, temperature)
        if draft not in counted.drafts:
            return None
        names = counted.prompts
        if prompts and names != prompts:
            raise UserError(
                f"{directory}: the seeds of {contender.method} on {contender.task} were measured "
                "on different prompts, so they cannot be paired; run the recipe again."
            )
        prompts = names
        with explained(directory / row.records / tables_name(temperature)):
            counts = counted.blocks(rule.gamma, draft, rule.verification)
        seeds[row.cell.seed] = {
            name: tuple(getattr(counts, f"{name}_B").tolist()) for name in COLUMNS
        }
    return StoredCounts(contender, temperature, prompts, seeds, rule.gamma)


def _served(
    row: Result, requests: Sequence[ServedRequest], temperature: float
) -> StoredCounts | None:
    """Return the counts of a measured server, of blocks as it drafts; None if it has none.

    A column that the server does not report is 0, which leaves its rates out.
    """
    counts = served_counts(requests)
    if counts is None:
        return None
    nothing_B = np.zeros(len(counts.prompts))
    columns = {
        name: tuple(counts.columns.get(name, nothing_B).round(DECIMALS).tolist())
        for name in COLUMNS
    }
    seeds = {row.cell.seed: columns}
    gamma = counts.block or MAX_GAMMA
    return StoredCounts(row.cell.contender, temperature, counts.prompts, seeds, gamma)


def stored_requests(result: Result, directory: Path) -> list[ServedRequest]:
    """Return the requests of a measured server; empty for other results.

    Raises UserError if they are damaged.
    """
    if not result.records or not (directory / result.records / REQUESTS).is_file():
        return []
    return read_record(result, directory, REQUESTS, read_requests)


def shared_prompts(first: StoredCounts, second: StoredCounts) -> list[str]:
    """Return the units in both, of the same prompts, in the order of the first."""
    return [unit for unit, turns in first.units.items() if second.units.get(unit) == turns]


def paired_effect(
    now: StoredCounts, before: StoredCounts, quantity: str, prompts: Sequence[str]
) -> Effect:
    """Return the difference (now - before) of a rate, paired on units and on equal seeds.

    Raises ValueError on fewer than two prompts, or if a denominator sums to zero.
    """
    sides = [item.counts(quantity, prompts) for item in (now, before)]
    bounds = rate_bounds(quantity, max(now.gamma, before.gamma))
    paired = list(now.seeds) == list(before.seeds)
    return estimate_effect(*sides, paired_seeds=paired, bounds=bounds)


def stored_cell(
    result: Result, directory: Path, temperature: float, decimals: int | None = DECIMALS
) -> CellCounts:
    """Return a cell's counts at a temperature; raises UserError if missing or damaged.

    They are rounded as published counts are, so that a run and its published counts give the same
    reports. With `decimals` None, counts of acceptance tables are exact.
    """
    if has_published_counts(result, directory):
        return read_cell(verified_file(directory, f"{result.records}/{COUNTS}"))[temperature]
    return TableCounts(stored_tables(result, directory, temperature), decimals)


def has_published_counts(result: Result, directory: Path) -> bool:
    """True if a cell has counts in place of acceptance tables."""
    return (directory / result.records / COUNTS).is_file()


def stored_tables(result: Result, directory: Path, temperature: float) -> list[AcceptanceTable]:
    """Return a cell's tables at a temperature; raises UserError if missing or damaged."""
    if has_published_counts(result, directory):
        raise UserError(
            f"{directory / result.records} has counts alone, of a run that was published; what "
            "needs acceptance by token needs the recipe to be run again."
        )
    return read_record(result, directory, tables_name(temperature), _read_tables)


def _read_tables(path: Path) -> list[AcceptanceTable]:
    """Return acceptance tables, unless their blocks are longer than any that a text could fill."""
    with pq.ParquetFile(path) as file:
        depths = file.read(["depth"]).to_pylist()
    for depth in (row["depth"] for row in depths):
        if not 1 <= depth <= _MAX_DEPTH:
            raise ValueError(f"a block holds 1 to {_MAX_DEPTH} tokens, not {depth}")
    return read_tables(path)


def stored_rows(result: Result, directory: Path, file: str) -> list[dict[str, Any]]:
    """Return the rows of one of a cell's files; raises UserError if missing or damaged.

    Each row is of a prompt, by its `example_id`.
    """
    return read_record(result, directory, file, _read_scores)


def _read_scores(path: Path) -> list[dict[str, Any]]:
    rows = read_rows(path)
    for row in rows:
        if not isinstance(row.get("example_id"), str):
            raise ValueError("a row names no prompt")
        for name, value in row.items():
            if not _is_finite(value):
                raise ValueError(f"{name} is not finite")
    return rows


def _is_finite(value: Any) -> bool:
    """True if no float of a value, or of a list or struct in it, is infinite or NaN."""
    if isinstance(value, (list, dict)):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def read_record(
    result: Result, directory: Path, file: str, read: Callable[[Path], list[Row]]
) -> list[Row]:
    """Return the rows of a cell's file, read by `read`; raises UserError if missing or damaged."""
    path = verified_file(directory, f"{result.records}/{file}")
    with explained(path):
        return read(path)
