"""The rows of speed tables: a cell under one set of terms, and why its draft makes it slower."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from draftmark.analysis.cost_model import Costs, why_slower
from draftmark.reports._shared.markdown import interval
from draftmark.results import Number, Result

_NO_MODEL = (
    "slower; why, the cost model would say: it is measured with `speed.cost_model = true`, at the "
    "batch sizes that the draft can be timed at by itself"
)


@dataclass(frozen=True)
class Measured:
    """A row of the tables: a cell under one set of terms, with the numbers measured there."""

    method: str
    terms: Mapping[str, str]
    numbers: Mapping[str, Number]

    @property
    def label(self) -> str:
        """Which row it is, in words."""
        told = self.terms
        where = f"{told['engine']}, T={told['t']}, batch {told['batch']}, gamma {told['gamma']}"
        return f"{self.method}, {where}"

    def show(self, name: str) -> str:
        """Return a number with its interval, or a dash."""
        return interval(self.numbers[name]) if name in self.numbers else "-"

    @property
    def why_slower(self) -> str:
        """Which term takes the speedup, as far as parts were timed."""
        numbers = self.numbers
        if "overhead" not in numbers:
            return _NO_MODEL
        return why_slower(
            numbers["counted_block_efficiency"].value,
            numbers["counted_drafted"].value,
            Costs(numbers["cost_ratio"].value, numbers["verification_cost"].value),
            int(self.terms["batch"]),
            numbers["overhead"].value,
        )


def measured_of(row: Result, method: str) -> Iterator[Measured]:
    """Yield what was measured of a cell, by its terms, in the order of the recipe."""
    by_label: dict[str, dict[str, Number]] = {}
    for key, number in row.numbers.items():
        name, _, label = key.removesuffix("]").partition("[")
        arm, _, rest = label.partition(",") if label.startswith("arm=") else ("", "", label)
        if rest.startswith("gamma=") and "engine=" in rest:
            own = f"{name}, {arm.removeprefix('arm=')}" if arm else name
            by_label.setdefault(rest, {})[own] = number
    for label, numbers in by_label.items():
        yield Measured(method, terms_of(label), numbers)


def terms_of(label: str) -> dict[str, str]:
    """Return the terms that a number's key names; none of the headline's, which names none."""
    return dict(part.split("=", 1) for part in label.split(",") if part)
