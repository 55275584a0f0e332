"""What all figures of a run share: who has numbers, which come first, and how methods look."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from draftmark.reports._figures.drawing import Numbers
from draftmark.reports._figures.style import Look, label
from draftmark.results import Contender, Result, Results

MOST_METHODS = 24  # in one picture; their data is in the CSV file
Place = tuple[str, str]  # task and pair
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Run:
    """The results that figures are drawn of, with the folder of their records."""

    results: Results
    directory: Path

    @cached_property
    def numbers(self) -> dict[Contender, Numbers]:
        """The numbers of each contender that has some: over its seeds, or of its only one."""
        found = {row.cell.contender: row.numbers for row in self.done}
        return found | {
            item.contender: item.numbers for item in self.results.pooled if item.contender in found
        }

    @cached_property
    def done(self) -> list[Result]:
        """The cells that have numbers."""
        return [row for row in self.results.results if not row.failure and row.numbers]

    @cached_property
    def _by_contender(self) -> dict[Contender, list[Result]]:
        found: dict[Contender, list[Result]] = {}
        for row in self.done:
            found.setdefault(row.cell.contender, []).append(row)
        return found

    @cached_property
    def methods(self) -> list[str]:
        """The methods, in the recipe's order, that have numbers or failed."""
        return list(dict.fromkeys(row.cell.method for row in self.results.results))

    @cached_property
    def temperatures(self) -> list[float]:
        """What responses were scored at."""
        return list(self.results.recipe["evaluation"]["temperatures"])

    @cached_property
    def gamma(self) -> int:
        """The block length of the recipe."""
        return int(self.results.recipe["evaluation"]["num_speculative_tokens"])

    def look(self, method: str) -> Look:
        """Return how a method looks: the same in every figure."""
        return Look.of(self.methods.index(method))

    def cells(self, contender: Contender) -> list[Result]:
        """Return a contender's cells, one for each seed, that have numbers."""
        return self._by_contender.get(contender, [])

    def key(self, name: str, temperature: float, gamma: int | None = None, more: str = "") -> str:
        """Return the name of a number at a block length, by default the recipe's."""
        return f"{name}[t={temperature:g},gamma={gamma or self.gamma}{more}]"

    def title(self, place: Place, longest: int = 40) -> str:
        """Return the heading of a panel: its task, and its pair where there are several."""
        several = len({row.cell.pair for row in self.results.results}) > 1
        return label(f"{place[0]}, {place[1]}" if several else place[0], longest)


def drawn_of(
    run: Run, contenders: Iterable[Contender], most: int
) -> tuple[list[str], list[Place], str]:
    """Return the methods, and the tasks and pairs of contenders, that a picture has room for.

    `most`: tasks and pairs. Last is what it leaves out, in words.
    """
    methods, fewer = first(run.methods, MOST_METHODS, "methods")
    drawn, left = first(places(contenders), most, "tasks and pairs")
    return methods, drawn, " ".join(filter(None, (fewer, left)))


def places(contenders: Iterable[Contender]) -> list[Place]:
    """Return the tasks and pairs of contenders, each once, in their order."""
    return list(dict.fromkeys((item.task, item.pair) for item in contenders))


def first(items: Sequence[_Item], most: int, noun: str) -> tuple[list[_Item], str]:
    """Return the first of some items, as many as a picture has room for, and what it leaves out."""
    if len(items) <= most:
        return list(items), ""
    return list(items[:most]), f"Drawn are the first {most} of {len(items)} {noun}."
