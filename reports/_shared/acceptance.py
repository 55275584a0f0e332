"""The acceptance tables beside results: what a report needs that counts blocks anew."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from draftmark.analysis.cost_model import ByGamma, Costs
from draftmark.analysis.recommendation import Advice, advise, priced
from draftmark.analysis.stored_counts import tables_of
from draftmark.reports._shared.markdown import escape
from draftmark.results import Contender, Number, Result, Results
from draftmark.speculation.blocks import block_counts
from draftmark.types import AcceptanceTable


@dataclass(frozen=True)
class Scored:
    """A contender at a temperature: what its blocks of every length come to, by seed."""

    contender: Contender
    temperature: float
    by_gamma: ByGamma
    acceptance: Number | None  # as published; None if it drafted nothing

    @property
    def title(self) -> str:
        """Whose it is, in words."""
        who = self.contender
        return f"{who.task}, {who.pair}, {who.method}, temperature {self.temperature:g}"

    @property
    def units(self) -> str:
        """What its intervals are over, in words."""
        seeds = self.by_gamma[1]
        prompts = f"{len(seeds[0].tokens_B)} prompts"
        return f"{prompts} and {len(seeds)} seeds" if len(seeds) > 1 else prompts


def advised(item: Scored, costs: Costs) -> Advice:
    """Return which block length to serve with, were a drafted token to cost so much."""
    return advise({gamma: priced(seeds, costs) for gamma, seeds in item.by_gamma.items()})


def scored(results: Results, directory: Path) -> Iterator[Scored]:
    """Yield every contender at every temperature, over those of its seeds that have numbers."""
    done = (result for result in results.results if not result.failure)
    for contender, cells in groupby(done, key=lambda result: result.cell.contender):
        seeds = list(cells)
        for temperature in results.recipe["evaluation"]["temperatures"]:
            tables = [tables_of(result, directory, temperature) for result in seeds]
            acceptance = _acceptance(results, contender, seeds, temperature)
            yield Scored(contender, temperature, _by_gamma(tables), acceptance)


def _by_gamma(seeds: list[list[AcceptanceTable]]) -> ByGamma:
    longest = min(item.accept_SD.shape[1] for tables in seeds for item in tables)
    return {
        gamma: [block_counts(tables, gamma) for tables in seeds] for gamma in range(1, longest + 1)
    }


def _acceptance(
    results: Results, contender: Contender, seeds: list[Result], temperature: float
) -> Number | None:
    gamma = results.recipe["evaluation"]["num_speculative_tokens"]
    pooled = [item.numbers for item in results.pooled if item.contender == contender]
    numbers = pooled[0] if pooled else seeds[0].numbers
    return numbers.get(f"acceptance_rate[t={temperature:g},gamma={gamma}]")


def title(result: Result) -> str:
    """Return a cell in words, for a heading."""
    cell = result.cell
    return escape(f"{cell.task}, {cell.pair}, {cell.method}, seed {cell.seed}")


def failed(result: Result) -> str:
    """Return the section of a cell that failed, with its reason."""
    return f"## {title(result)}\n\nFailed: {escape(str(result.failure))}"
