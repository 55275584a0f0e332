"""The results that all figures of a run share, and the choice of contenders that fit a picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from draftmark.analysis.quantities import quantity_key
from draftmark.reports._figures.style import Look, font_label
from draftmark.reports._shared.rows import gamma_of, temperatures_of
from draftmark.results import Contender, Number, Result, Results

MOST_METHODS = 24  # in one picture; the CSV file has all
Numbers = Mapping[str, Number]
Place = tuple[str, str]  # task and pair
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class DrawnRun:
    """The results that figures are drawn from, with the folder of their records."""

    results: Results
    directory: Path

    @cached_property
    def numbers(self) -> dict[Contender, Numbers]:
        """The numbers of each contender that has numbers, pooled if it has several seeds."""
        found = {row.cell.contender: row.numbers for row in self.done}
        return found | {
            item.contender: item.numbers for item in self.results.pooled if item.contender in found
        }

    @cached_property
    def done(self) -> list[Result]:
        """The cells that have numbers."""
        return [row for row in self.results.results if not row.failure and row.numbers]

    @cached_property
    def methods(self) -> list[str]:
        """The methods, in the recipe's order."""
        return list(dict.fromkeys(row.cell.method for row in self.results.results))

    @cached_property
    def temperatures(self) -> list[float]:
        """The temperatures at which drafts were scored."""
        return temperatures_of(self.results)

    @cached_property
    def gamma(self) -> int:
        """The block length of the recipe."""
        return gamma_of(self.results)

    def look(self, method: str) -> Look:
        """Return the look of a method, the same in every figure."""
        return Look.of(self.methods.index(method))

    def looks(self, methods: Iterable[str]) -> dict[str, Look]:
        """Return the look of each method."""
        return {method: self.look(method) for method in methods}

    def cells(self, contender: Contender) -> list[Result]:
        """Return a contender's cells that have numbers, one for each seed."""
        return [row for row in self.done if row.cell.contender == contender]

    def key(self, name: str, temperature: float, gamma: int | None = None) -> str:
        """Return the key of a rate at a block length, by default the recipe's."""
        return quantity_key(name, temperature, gamma or self.gamma)

    def title(self, place: Place, longest: int = 40) -> str:
        """Return a panel's title: the task, and the pair if the run has several pairs."""
        several = len({row.cell.pair for row in self.results.results}) > 1
        return font_label(f"{place[0]}, {place[1]}" if several else place[0], longest)


def choose_panels(
    run: DrawnRun, contenders: Iterable[Contender], most: int
) -> tuple[list[str], list[Place], str]:
    """Return methods, at most `most` places to draw, and a sentence on the omitted ones."""
    methods, fewer_methods = first_few(run.methods, MOST_METHODS, "methods")
    drawn, fewer_places = first_few(places_of(contenders), most, "tasks and pairs")
    return methods, drawn, " ".join(filter(None, (fewer_methods, fewer_places)))


def places_of(contenders: Iterable[Contender]) -> list[Place]:
    """Return the distinct tasks and pairs of contenders, in order."""
    return list(dict.fromkeys((item.task, item.pair) for item in contenders))


def at_place(
    found: Mapping[Contender, _Item], place: Place, methods: Iterable[str]
) -> dict[str, _Item]:
    """Return the items of a task and pair, by method."""
    contenders = {method: Contender(*place, method) for method in methods}
    return {method: found[item] for method, item in contenders.items() if item in found}


def first_few(items: Sequence[_Item], most: int, noun: str) -> tuple[list[_Item], str]:
    """Return the first `most` items, and a sentence on the omitted ones (empty if none)."""
    if len(items) <= most:
        return list(items), ""
    return list(items[:most]), f"The picture has the first {most} of {len(items)} {noun}."
