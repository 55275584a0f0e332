"""What a run publishes: numbers with their intervals, comparisons, and what they rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from draftmark.types import Ledger

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Number:
    """A published number: a value with its 95 % interval, the number of prompts, its definition.

    `low` and `high` are None where no interval can be given (a single prompt).
    """

    value: float
    low: float | None
    high: float | None
    n: int
    definition: str


@dataclass(frozen=True)
class Contender:
    """A method on a task, for a pair: cells that differ in nothing but their seed."""

    task: str
    pair: str
    method: str


@dataclass(frozen=True)
class Cell:
    """One row of the experiment: a method, on a task, for a pair, with a seed."""

    task: str
    pair: str
    method: str  # its label in the recipe
    seed: int

    @property
    def contender(self) -> Contender:
        """Whose cell it is."""
        return Contender(self.task, self.pair, self.method)


@dataclass(frozen=True)
class Pooled:
    """The numbers of a contender over all of its seeds."""

    contender: Contender
    seeds: tuple[int, ...]
    numbers: Mapping[str, Number]


@dataclass(frozen=True)
class Comparison:
    """A contender against another method, on the same prompts, over their seeds.

    `p_value` is for no difference, `adjusted_p` after Holm over all comparisons of the run;
    `detectable` is the smallest difference that 8 in 10 experiments of this size would find;
    `prompts_needed` is how many would find the difference that was seen (None if that is 0).
    """

    contender: Contender
    against: str
    quantity: str
    difference: Number
    p_value: float
    adjusted_p: float
    detectable: float
    prompts_needed: int | None


@dataclass(frozen=True)
class Standing:
    """A contender's letters by a quantity: two that share one could not be told apart."""

    contender: Contender
    quantity: str
    letters: str


@dataclass(frozen=True)
class Result:
    """What came of a cell: its numbers, or the reason why there are none.

    `history` is how its training's validation went (see `draftmark.analysis.validation_history`).
    """

    cell: Cell
    numbers: Mapping[str, Number]
    ledger: Ledger | None
    provenance: Mapping[str, Any]
    failure: str | None = None
    records: str = ""  # the folder of its per-prompt records, beside the results
    speed_failures: Mapping[str, str] = field(default_factory=dict)  # what failed -> reason
    speed_refusals: Mapping[str, str] = field(default_factory=dict)  # what no engine does -> reason
    history: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class Finding:
    """What a check of fairness or leaks found: an error makes the numbers unfit to be compared."""

    severity: Severity
    subject: str  # the task and pair
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """What a run gives to the reports: a row for every cell, and what all of them rest on."""

    name: str
    title: str
    recipe: Mapping[str, Any]
    results: tuple[Result, ...]
    pooled: tuple[Pooled, ...]
    comparisons: tuple[Comparison, ...]
    standings: tuple[Standing, ...]
    data: tuple[Mapping[str, Any], ...]
    manifest: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()

    @property
    def numbers(self) -> Mapping[Contender, Mapping[str, Number]]:
        """The numbers of each contender: those of its one seed, or of all of its seeds together.

        A contender whose only seed failed has none, nor has one of whose seeds a single one is
        left: it says nothing of the others.
        """
        seeds = Counter(row.cell.contender for row in self.results)
        single = {
            row.cell.contender: row.numbers
            for row in self.results
            if seeds[row.cell.contender] == 1 and not row.failure
        }
        return single | {item.contender: item.numbers for item in self.pooled}

    @property
    def commit(self) -> Mapping[str, Any]:
        """What the run is a run of: a commit of the project that it was started in, with its date.

        Else one of draftmark's own; empty if neither is known.
        """
        return self.manifest.get("project") or self.manifest.get("git") or {}
