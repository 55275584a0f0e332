"""Rates over block length and over position in a block, a row of panels per task and pair."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from draftmark.analysis.quantities import GAMMAS, quantity_key
from draftmark.reports._figures.curves import Grid, Line, Lines, draw_grid, grid_inches, grid_rows
from draftmark.reports._figures.drawing import Drawing, NotDrawn
from draftmark.reports._figures.run import DrawnRun, Numbers, all_equal, choose_places
from draftmark.results import Contender, Number

SUPPOSED = 0.1  # cost of a drafted token in plain passes, if none was measured
_MOST_ROWS = 5  # on a page
_PREDICTED = "tokens / (passes + drafted c), in plain target passes; prefill aside"


def draw_by_gamma(
    run: DrawnRun, temperature: float, costs: Mapping[Contender, float]
) -> Drawing | NotDrawn:
    """Return the figure of block efficiency and predicted speedup over block length.

    `costs`: measured costs of a drafted token, in plain passes.
    """
    name = f"gamma-t{temperature:g}"
    cost = {item: costs.get(item) if costs else SUPPOSED for item in run.numbers}
    lines = {item: _by_gamma(run, item, temperature, cost[item]) for item in run.numbers}
    found = {item: by_name for item, by_name in lines.items() if by_name["block_efficiency"]}
    if not found:
        return NotDrawn(name, f"no cell has a block efficiency at temperature {temperature:g}")
    if not any(_says_something(by_name["block_efficiency"]) for by_name in found.values()):
        return NotDrawn(name, "the block efficiency is the same at every block length")
    price = "at the measured cost" if costs else f"if a drafted token costs {SUPPOSED:g}"
    columns = {
        "block_efficiency": ("", "tokens per pass"),
        "predicted_speedup": (f", {price}", "predicted speedup"),
    }
    caption = (
        "Left: block efficiency, tokens per pass of the target, over block length, the largest "
        f"number of tokens that a block drafts, at temperature {temperature:g}. Right: the "
        f"predicted speedup at {_cost_in_words(costs)}; prefill aside. Bands are 95% intervals."
    )
    grid = Grid("block length, drafted tokens", columns, found)
    header = (Contender, "temperature", "gamma", "quantity", Number, "cost_of_a_drafted_token")
    rows = [(*row, cost[row[0]]) for row in _rows(grid, temperature)]
    return _drawing(run, name, caption, grid, header, rows)


def _by_gamma(run: DrawnRun, contender: Contender, temperature: float, cost: float | None) -> Lines:
    numbers = run.numbers[contender]
    efficiency = {
        gamma: numbers[key]
        for gamma in GAMMAS
        if (key := run.key("block_efficiency", temperature, gamma)) in numbers
    }
    speedup = {
        gamma: _priced(number, cost * _drafted_per_pass(run, contender, temperature, gamma))
        for gamma, number in efficiency.items()
        if cost is not None
    }
    return {"block_efficiency": efficiency, "predicted_speedup": speedup}


def _priced(efficiency: Number, drafting: float) -> Number:
    """Return the speedup if the drafted tokens of a block cost `drafting` plain passes."""
    low, high = (
        None if end is None else end / (1 + drafting) for end in (efficiency.low, efficiency.high)
    )
    value = efficiency.value / (1 + drafting)
    return replace(efficiency, value=value, low=low, high=high, definition=_PREDICTED)


def _drafted_per_pass(run: DrawnRun, contender: Contender, temperature: float, gamma: int) -> float:
    """Return drafted tokens per pass: (accepted / passes) / (accepted / drafted)."""
    per_pass = run.key("accepted_per_pass", temperature, gamma)
    share = run.key("draft_acceptance_rate", temperature, gamma)
    seeds = [row.numbers for row in run.cells(contender)]
    drafting = [numbers for numbers in seeds if share in numbers and per_pass in numbers]
    if not drafting:
        return 0.0  # the contender never drafts
    return fmean(
        numbers[per_pass].value / numbers[share].value if numbers[share].value else gamma
        for numbers in drafting
    )


def _cost_in_words(costs: Mapping[Contender, float]) -> str:
    if not costs:
        return f"a supposed cost of {SUPPOSED:g} plain passes for a drafted token: no speed was run"
    return (
        "each draft's measured cost of a drafted token, the same at every block length: c + w of "
        "its timed passes at the smallest batch and longest blocks; for a draft without timed "
        "passes, the time of its first speed run beyond the target's passes, engine overhead "
        "included"
    )


def draw_by_position(run: DrawnRun, temperature: float) -> Drawing | NotDrawn:
    """Return the figure of marginal and conditional acceptance by position in a block."""
    name = f"positions-t{temperature:g}"
    kinds = ("marginal", "conditional")
    columns = {f"{kind}_acceptance": ("", f"{kind} acceptance") for kind in kinds}
    lines = {
        item: {quantity: _by_position(run, numbers, quantity, temperature) for quantity in columns}
        for item, numbers in run.numbers.items()
    }
    found = {item: by_name for item, by_name in lines.items() if by_name["marginal_acceptance"]}
    if not found:
        return NotDrawn(name, f"no cell has acceptance by position at temperature {temperature:g}")
    if not any(_says_something(line) for by_name in found.values() for line in by_name.values()):
        return NotDrawn(name, "acceptance is the same at every position")
    caption = (
        f"Acceptance by position in blocks of {run.gamma} drafted tokens at temperature "
        f"{temperature:g}. Left, marginal: of the blocks with drafted tokens, the share that "
        "accepts the position. Right, conditional: of the blocks that test the position, the share "
        "that accepts it. Bands are 95% intervals."
    )
    grid = Grid("position in the block", columns, found, limits=(0.0, 1.03))
    header = (Contender, "temperature", "position", "quantity", Number)
    return _drawing(run, name, caption, grid, header, _rows(grid, temperature))


def _by_position(run: DrawnRun, numbers: Numbers, quantity: str, temperature: float) -> Line:
    keys = {p: quantity_key(quantity, temperature, run.gamma, p) for p in range(1, run.gamma + 1)}
    return {place: numbers[key] for place, key in keys.items() if key in numbers}


def _says_something(line: Line) -> bool:
    return not all_equal(line.values())


def _rows(grid: Grid, temperature: float) -> list[tuple[Any, ...]]:
    return [
        (item, temperature, place, quantity, value)
        for item, lines in grid.found.items()
        for quantity, line in lines.items()
        for place, value in line.items()
    ]


def _drawing(
    run: DrawnRun,
    name: str,
    caption: str,
    grid: Grid,
    header: Sequence[str | type],
    rows: Sequence[tuple[Any, ...]],
) -> Drawing:
    places, left = choose_places(grid.found, _MOST_ROWS)
    drawn = grid_rows(run, grid, places)
    apart = [f"{row.title} has a row with a scale of its own." for row in drawn if row.apart]
    shown = [method for place in places for method in run.at_place(grid.found, place)]
    return Drawing(
        *(name, caption, grid_inches(run, drawn), header, rows),
        lambda figure: draw_grid(figure, grid, drawn),
        run.notes(run.grey_note(shown), *apart, left),
    )
