"""Rows of speed tables: a cell under one speed condition, and the reason if it is slower."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from draftmark.analysis.cost_model import Costs, why_slower
from draftmark.reports._shared.rows import conditions_of
from draftmark.results import Number, Result

_NO_MODEL = "reason unknown: no cost model (`speed.cost_model = true`) at this batch size"


@dataclass(frozen=True)
class SpeedRow:
    """A cell under one speed condition, with the numbers measured there."""

    method: str
    terms: Mapping[str, str]  # the condition: engine, t, batch, gamma, length
    numbers: Mapping[str, Number]

    @property
    def why_slower(self) -> str:
        """The reason for a slowdown by the cost model, or how to get it if it was not measured."""
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


def speed_rows(row: Result, method: str) -> Iterator[SpeedRow]:
    """Yield a cell's rows, one for each speed condition, in the order of the recipe."""
    by_label: dict[str, dict[str, Number]] = {}
    for key, number in row.numbers.items():
        name, _, label = key.removesuffix("]").partition("[")
        arm, _, rest = label.partition(",") if label.startswith("arm=") else ("", "", label)
        if rest.startswith("gamma=") and "engine=" in rest:
            title = f"{name}, {arm.removeprefix('arm=')}" if arm else name
            by_label.setdefault(rest, {})[title] = number
    for label, numbers in by_label.items():
        yield SpeedRow(method, conditions_of(label), numbers)
