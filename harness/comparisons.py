"""Every cell against the recipe's first method, on the same prompts, as one family of tests."""

from collections.abc import Mapping
from dataclasses import replace

from harness import statistics
from harness.blocks import block_counts
from harness.config import Recipe
from harness.published import Cell, Comparison
from harness.summary import Records, key, rates
from harness.tables import Floats

_COMPARED = ("acceptance_rate", "block_efficiency")


def compare(records: Mapping[Cell, Records], recipe: Recipe) -> tuple[Comparison, ...]:
    """Return the comparisons of all cells with the first method's, adjusted for their number."""
    first = recipe.methods[0].title
    found = [
        comparison
        for cell, mine in records.items()
        if cell.method != first and (baseline := records.get(replace(cell, method=first)))
        for temperature in recipe.evaluation.temperatures
        for comparison in _of_pair(cell, mine, baseline, recipe, temperature)
    ]
    adjusted = statistics.holm([comparison.p_value for comparison in found])
    return tuple(
        replace(comparison, adjusted_p=p) for comparison, p in zip(found, adjusted, strict=True)
    )


def _of_pair(
    cell: Cell, mine: Records, baseline: Records, recipe: Recipe, temperature: float
) -> list[Comparison]:
    first, gamma = recipe.methods[0].title, recipe.evaluation.num_speculative_tokens
    left = _rates_of(mine, temperature, gamma)
    right = _rates_of(baseline, temperature, gamma)
    if mine.prompts(temperature) != baseline.prompts(temperature):
        raise ValueError("not paired: the two methods were scored on different prompts")
    return [
        _comparison(cell, first, key(name, temperature, gamma), left[name], right[name])
        for name in _COMPARED
    ]


def _rates_of(records: Records, temperature: float, gamma: int) -> dict[str, tuple[Floats, Floats]]:
    return rates(block_counts(records.tables[temperature], gamma))


def _comparison(
    cell: Cell,
    first: str,
    quantity: str,
    left: tuple[Floats, Floats],
    right: tuple[Floats, Floats],
) -> Comparison:
    definition = f"{quantity} minus that of {first}, paired on prompts"
    test = statistics.paired_test(left, right)
    return Comparison(
        cell=cell,
        against=first,
        quantity=quantity,
        difference=statistics.ratio_difference(left, right, definition),
        p_value=test.p_value,
        adjusted_p=test.p_value,
        detectable=test.detectable,
    )
