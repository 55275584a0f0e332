"""The results that all figures of a run share, and the choice of contenders that fit a picture."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from draftmark.analysis.quantities import quantity_key
from draftmark.analysis.titles import method_title, task_title
from draftmark.analysis.validation_history import learned_nothing
from draftmark.reports._figures.choice import MOST_CURVES, choose_curves, order_by_effect
from draftmark.reports._figures.style import OTHER, Look, Paper, font_label
from draftmark.reports._shared.rows import gamma_of, group_by, temperatures_of
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
    paper: Paper = field(default_factory=Paper)

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
    def unmoved(self) -> list[Contender]:
        """The contenders whose training did not improve their draft, in any seed.

        A task on which no other method has numbers keeps them: its pictures would be empty.
        """
        cells = group_by(self.done, lambda row: row.cell.contender)
        stayed = [
            contender
            for contender, rows in cells.items()
            if all(learned_nothing(row.history) for row in rows)
        ]
        others = set(places_of(item for item in cells if item not in stayed))
        return [item for item in stayed if (item.task, item.pair) in others]

    @cached_property
    def methods(self) -> list[str]:
        """The methods with numbers to draw, in order of block efficiency, best first."""
        found = self.ranked("block_efficiency")
        others = (item.method for item in self.numbers if item not in self.unmoved)
        return list(dict.fromkeys([*found, *others]))

    @cached_property
    def curves(self) -> list[str]:
        """The methods that every picture names; it draws the others in grey."""
        fastest = next(iter(self.ranked_by("speedup")), "")
        return choose_curves(self.methods, self.results.standings, fastest)

    @cached_property
    def others(self) -> list[str]:
        """The methods that are grey in pictures of curves and points."""
        return [method for method in self.methods if method not in self.curves]

    @cached_property
    def temperatures(self) -> list[float]:
        """The temperatures at which drafts were scored."""
        return temperatures_of(self.results)

    @cached_property
    def gamma(self) -> int:
        """The block length of the recipe."""
        return gamma_of(self.results)

    def ranked(self, rate: str) -> list[str]:
        """Return the methods in order of a rate over all tasks and temperatures, best first."""
        return self.ranked_by(*(self.key(rate, t) for t in self.temperatures))

    def ranked_by(self, *keys: str) -> list[str]:
        """Return the methods in order of the numbers of these keys over all tasks, best first."""
        panels = [
            {method: own[key].value for method, own in by_method.items() if key in own}
            for place in places_of(self.numbers)
            for by_method in [self.at_place(self.numbers, place)]
            for key in keys
        ]
        return order_by_effect(panels)

    def at_place(self, found: Mapping[Contender, _Item], place: Place) -> dict[str, _Item]:
        """Return the items of a task and pair by method, without unmoved drafts."""
        return {
            item.method: value
            for item, value in found.items()
            if (item.task, item.pair) == place and item not in self.unmoved
        }

    def name(self, method: str) -> str:
        """Return a method's name as people write it; its label if two names would be the same."""
        title = method_title(method)
        same = {each for each in self.labels if method_title(each) == title}
        return title if same <= {method} else method

    @cached_property
    def labels(self) -> set[str]:
        """The labels of all methods."""
        return {row.cell.method for row in self.results.results}

    def look(self, method: str) -> Look:
        """Return the look of a method, the same in every figure; the others look alike."""
        return Look.of(self.curves.index(method)) if method in self.curves else OTHER

    def named(self, methods: Iterable[str]) -> list[str]:
        """Return the methods that a picture of `methods` names: all, or the usual ones of many."""
        shown = set(methods)
        found = [name for name in self.methods if name in shown]
        return found if len(found) <= MOST_CURVES else [it for it in self.curves if it in shown]

    def looks(self, methods: Iterable[str]) -> dict[str, Look]:
        """Return the look of each name in a legend; one entry is for all other methods."""
        shown = set(methods)
        looks = {self.name(name): self.look(name) for name in self.curves if name in shown}
        others = len(shown - set(self.curves))
        return looks | ({others_label(others): OTHER} if others else {})

    def cells(self, contender: Contender) -> list[Result]:
        """Return a contender's cells that have numbers, one for each seed."""
        return [row for row in self.done if row.cell.contender == contender]

    def key(self, name: str, temperature: float, gamma: int | None = None) -> str:
        """Return the key of a rate at a block length, by default the recipe's."""
        return quantity_key(name, temperature, gamma or self.gamma)

    def title(self, place: Place, longest: int = 40) -> str:
        """Return a panel's title: the task, and the pair if the run has several pairs."""
        task, pair = task_title(place[0]), place[1]
        several = len({row.cell.pair for row in self.results.results}) > 1
        return font_label(f"{task}, {pair}" if several else task, longest)

    def notes(self, *sentences: str) -> str:
        """Return the end of a caption: the unmoved drafts, then the sentences."""
        return " ".join(filter(None, (self._unmoved_note(), *sentences)))

    def grey_note(self, shown: Iterable[str]) -> str:
        """Return a sentence that names the grey methods of a picture; "" without any."""
        grey = set(shown) & set(self.others)
        names = [font_label(self.name(name)) for name in self.others if name in grey]
        return f"Grey: {'; '.join(names)}." if names else ""

    def _unmoved_note(self) -> str:
        by_method = group_by(self.unmoved, lambda item: item.method)
        named = [
            f"{font_label(self.name(method))} ({', '.join(self._places(items))})"
            for method, items in by_method.items()
        ]
        return f"Not drawn, because training did not improve them: {'; '.join(named)}." * bool(
            named
        )

    def _places(self, contenders: Sequence[Contender]) -> Iterator[str]:
        return (self.title(place) for place in places_of(contenders))


def others_label(number: int) -> str:
    """Return the name of all methods that are grey."""
    return f"{number} others" if number > 1 else "1 other"


def choose_places(contenders: Iterable[Contender], most: int) -> tuple[list[Place], str]:
    """Return at most `most` places to draw, and a sentence on the omitted ones."""
    return first_few(places_of(contenders), most, "tasks and pairs")


def places_of(contenders: Iterable[Contender]) -> list[Place]:
    """Return the distinct tasks and pairs of contenders, in order."""
    return list(dict.fromkeys((item.task, item.pair) for item in contenders))


def first_few(items: Sequence[_Item], most: int, noun: str) -> tuple[list[_Item], str]:
    """Return the first `most` items, and a sentence on the omitted ones (empty if none)."""
    if len(items) <= most:
        return list(items), ""
    return list(items[:most]), f"The picture has the first {most} of {len(items)} {noun}."


def all_equal(numbers: Iterable[Number]) -> bool:
    """True if numbers have one value, or there are none: a picture of them says nothing."""
    return len({number.value for number in numbers}) < 2


def reason_to_skip(found: Sequence[tuple[Contender, Number]]) -> str:
    """Return why a picture that compares contenders would say nothing; "" if it says something."""
    if len({contender for contender, _ in found}) == 1:
        return "one method on one task compares nothing"
    return "all values are equal" if all_equal(number for _, number in found) else ""
