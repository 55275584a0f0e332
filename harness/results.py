"""Results of a run: numbers with intervals, comparisons, findings and provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from draftmark.types import Ledger, Verification

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Number:
    """A result: a value, its 95 % interval, the number n of prompts, and its definition.

    `low` and `high` are None where there is no interval (a single prompt). `effective` is the
    number of equal prompts that weigh as much as these n; None for numbers that are not of prompts.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    definition: str
    effective: float | None = None


@dataclass(frozen=True)
class Contender:
    """A method on a task, for a pair: the cells that differ only in their seed."""

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
        """The cell without its seed."""
        return Contender(self.task, self.pair, self.method)


@dataclass(frozen=True)
class Pooled:
    """The numbers of a contender over all of its seeds."""

    contender: Contender
    seeds: tuple[int, ...]
    numbers: Mapping[str, Number]


@dataclass(frozen=True)
class Comparison:
    """A contender compared with another method, paired on prompts, over their seeds.

    `p_value` tests for no difference; Holm's `adjusted_p` covers all comparisons of the run.
    `detectable` is the smallest difference that 8 in 10 experiments of this size would find; None
    if none could be found on so few prompts, or if the difference shows no spread.
    `prompts_needed` is the number of prompts that would find the observed difference; None if the
    difference is 0 or its spread is unknown.
    """

    contender: Contender
    against: str
    quantity: str
    difference: Number
    p_value: float
    adjusted_p: float
    detectable: float | None
    prompts_needed: int | None


@dataclass(frozen=True)
class Standing:
    """A contender's letters for a quantity; contenders that share a letter do not differ.

    `behind` is the value of the first contender minus this one's, paired on prompts. Its interval
    is one of all pairs that together cover with 95 %, as the letters do. None for the first.
    """

    contender: Contender
    quantity: str
    letters: str
    behind: Number | None = None


@dataclass(frozen=True)
class Result:
    """The result of a cell: its numbers, or the reason for its failure."""

    cell: Cell
    numbers: Mapping[str, Number]
    ledger: Ledger | None
    provenance: Mapping[str, Any]
    failure: str | None = None
    records: str = ""  # the folder of its per-prompt records, beside the results
    speed_failures: Mapping[str, str] = field(default_factory=dict)  # failed condition -> reason
    speed_refusals: Mapping[str, str] = field(default_factory=dict)  # unsupported -> reason
    history: tuple[Mapping[str, float], ...] = ()  # see analysis.validation_history


@dataclass(frozen=True)
class Finding:
    """A finding of a fairness or leak check; an "error" forbids comparing the numbers."""

    severity: Severity
    subject: str  # the task and pair
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """All results of a run: one row per cell, with the recipe, data and manifest behind them.

    Numbers, comparisons and standings are those of a rule of verification. A stored run is of the
    standard one, and has the comparisons and standings of block verification beside it.
    """

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
    verification: Verification = "standard"
    block_comparisons: tuple[Comparison, ...] = ()
    block_standings: tuple[Standing, ...] = ()

    @property
    def numbers(self) -> Mapping[Contender, Mapping[str, Number]]:
        """The numbers of each contender: of its single seed, or pooled over its seeds.

        A contender has none if its only seed failed, or if all but one of several seeds failed.
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
        """The commit of the project in which the run started, else draftmark's; {} without one."""
        return self.manifest.get("project") or self.manifest.get("git") or {}

    @property
    def server(self) -> Mapping[str, Any] | None:
        """The facts of the server that was measured; None for the results of a recipe."""
        facts: Mapping[str, Any] | None = self.manifest.get("server")
        return facts
