"""Grids of line panels, a row per task and pair: rates over block length and over position."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from draftmark.analysis.quantities import GAMMAS, quantity_key
from draftmark.reports._figures import style
from draftmark.reports._figures.drawing import Drawing, NotDrawn
from draftmark.reports._figures.run import DrawnRun, Numbers, Place, at_place, choose_panels
from draftmark.results import Contender, Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUPPOSED = 0.1  # cost of a drafted token in plain passes, if none was measured
_ROW_INCHES, _TALL_INCHES = 1.75, 2.3  # height of a row: of several, of a single one
_MOST_ROWS = 5  # on a page
_CROWD = 6  # with more methods bands are paler and points fewer
_PREDICTED = "tokens / (passes + drafted c), in plain target passes; prefill aside"
Line = Mapping[int, Number]  # block length or position -> number
Lines = Mapping[str, Line]  # quantity -> line


@dataclass(frozen=True)
class Grid:
    """A grid of panels, a column for each quantity, with a line for each method."""

    across: str  # label of the horizontal axes
    columns: Mapping[str, tuple[str, str]]  # quantity -> (end of the title, vertical axis)
    found: Mapping[Contender, Lines]
    limits: tuple[float, float] | None = None  # of the vertical axes; None: a line at 1


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
    price = "at the measured cost" if costs else f"if a drafted token costs {SUPPOSED:g}"
    columns = {
        "block_efficiency": ("", "tokens per pass"),
        "predicted_speedup": (f", {price}", "predicted speedup"),
    }
    caption = (
        "Left: block efficiency, tokens per pass of the target, over gamma, the largest number of "
        f"tokens that a block drafts, at temperature {temperature:g}. Right: the predicted speedup "
        f"at {_cost_in_words(costs)}; prefill aside. Bands are 95 % intervals."
    )
    grid = Grid("gamma (most tokens drafted in a block)", columns, found)
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
        "each draft's measured cost of a drafted token, the same at every gamma: c + w of its "
        "timed passes at the smallest batch and longest blocks; for a draft without timed passes, "
        "the time of its first speed run beyond the target's passes, engine overhead included"
    )


def draw_by_position(run: DrawnRun, temperature: float) -> Drawing | NotDrawn:
    """Return the figure of marginal and conditional acceptance by position in a block."""
    name = f"positions-t{temperature:g}"
    kinds = ("marginal", "conditional")
    columns = {f"{kind}_acceptance": (f", {kind}", "acceptance") for kind in kinds}
    lines = {
        item: {quantity: _by_position(run, numbers, quantity, temperature) for quantity in columns}
        for item, numbers in run.numbers.items()
    }
    found = {item: by_name for item, by_name in lines.items() if by_name["marginal_acceptance"]}
    if not found:
        return NotDrawn(name, f"no cell has acceptance by position at temperature {temperature:g}")
    caption = (
        f"Acceptance by position in blocks of {run.gamma} drafted tokens at temperature "
        f"{temperature:g}. Left, marginal: of the blocks with drafted tokens, the share that "
        "accepts the position. Right, conditional: of the blocks that test the position, the share "
        "that accepts it. Bands are 95 % intervals."
    )
    grid = Grid("position in the block", columns, found, limits=(0.0, 1.03))
    header = (Contender, "temperature", "position", "quantity", Number)
    return _drawing(run, name, caption, grid, header, _rows(grid, temperature))


def _by_position(run: DrawnRun, numbers: Numbers, quantity: str, temperature: float) -> Line:
    keys = {p: quantity_key(quantity, temperature, run.gamma, p) for p in range(1, run.gamma + 1)}
    return {place: numbers[key] for place, key in keys.items() if key in numbers}


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
    methods, drawn, left = choose_panels(run, grid.found, _MOST_ROWS)
    row_inches = _ROW_INCHES if len(drawn) > 1 else _TALL_INCHES
    inches = style.PAGE, len(drawn) * row_inches + style.legend_inches(methods)
    return Drawing(
        *(name, caption, inches, header, rows),
        lambda figure: _fill(figure, run, grid, methods, drawn),
        left,
    )


def _fill(
    figure: "Figure", run: DrawnRun, grid: Grid, methods: Sequence[str], drawn: Sequence[Place]
) -> None:
    """Draw the panels; each column shares its axes."""
    shape = len(drawn), len(grid.columns)
    every = figure.subplots(*shape, squeeze=False, sharex="col", sharey="col")
    shown: dict[str, None] = {}
    for row, place in zip(every, drawn, strict=True):
        by_method = at_place(grid.found, place, methods)
        shown |= dict.fromkeys(by_method)
        for axes, (quantity, (end, up)) in zip(row, grid.columns.items(), strict=True):
            drawn_lines = {method: lines[quantity] for method, lines in by_method.items()}
            _panel(axes, run, drawn_lines, grid)
            axes.set_title(f"{run.title(place)}{end}", loc="left")
            axes.set_ylabel(up)
    for axes in every[-1]:
        axes.set_xlabel(grid.across)
    style.legend(figure, run.looks(shown))


def _panel(axes: "Axes", run: DrawnRun, lines: Lines, grid: Grid) -> None:
    from matplotlib.ticker import MaxNLocator

    if not grid.limits:
        axes.axhline(1.0, **style.REFERENCE)
    many = len(lines) > _CROWD
    for method, line in lines.items():
        look, x = run.look(method), list(line)
        values, lows, highs = style.interval_ends(list(line.values()))
        alpha = 0.07 if many else 0.15
        axes.fill_between(x, lows, highs, color=look.colour, alpha=alpha, linewidth=0)
        axes.plot(x, values, markevery=3 if many and len(x) > _CROWD else 1, **look.line)
    if grid.limits:
        axes.set_ylim(*grid.limits)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
