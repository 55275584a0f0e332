"""The figure of the what-if: expected speedup by block length, and at its best by cost."""

from collections.abc import Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

from draftmark.analysis.cost_model import Costs, expected_speedup, expected_speedups
from draftmark.reports._figures.style import (
    COLOURS,
    DASHES,
    GREY,
    colours_in_order,
    draw,
    in_rows,
    panels,
)
from draftmark.reports._shared.acceptance import Scored, advised
from draftmark.results import Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_COLUMNS = 4
PANEL_INCHES = (3.6, 3.0)
POINTS = 101  # of a curve over cost
TITLE_WIDTH = 42  # characters
TICKS = (0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # of speedup


def figure(found: Sequence[Scored], costs: Sequence[Costs]) -> bytes:
    """Return the PNG: a panel for each draft, and one of all drafts by cost.

    Rows are tasks, pairs and temperatures; those with many drafts take several rows.
    """
    groups = list(_groups(found))
    rows = [size for group in groups for size in in_rows(len(group) + 1, MAX_COLUMNS)]

    def fill(canvas: "Figure") -> None:
        free = iter(panels(canvas, rows))
        drafts = []
        for group in groups:
            for item in group:
                drafts.append(next(free))
                _by_gamma(drafts[-1], item, costs)
            _by_cost(next(free), group, costs)
        highest = max(axes.dataLim.y1 for axes in canvas.axes)
        for axes in canvas.axes:
            _scale(axes, highest)
        _legend(canvas, drafts[0])

    return draw(len(rows), max(rows), PANEL_INCHES, fill)


def _groups(found: Sequence[Scored]) -> Sequence[Sequence[Scored]]:
    """Return those of the same task, pair and temperature together, in their order."""
    groups: dict[tuple[str, str, float], list[Scored]] = {}
    for item in found:
        who = item.contender
        groups.setdefault((who.task, who.pair, item.temperature), []).append(item)
    return list(groups.values())


def _by_gamma(axes: "Axes", item: Scored, costs: Sequence[Costs]) -> None:
    """Draw expected speedup over gamma, a line for each cost, the gamma to take marked."""
    for cost, colour in zip(costs, colours_in_order(len(costs)), strict=True):
        speedups = expected_speedups(item.by_gamma, cost)
        axes.plot(list(speedups), list(speedups.values()), color=colour, label=_name(cost))
        if gamma := advised(item, cost).gamma:
            _mark(axes, gamma, expected_speedup(item.by_gamma[gamma], cost), colour)
    _line_at_one(axes)
    axes.set_xscale("log", base=2)
    ticks = [2**power for power in range(6) if 2**power <= max(item.by_gamma)]
    axes.set_xticks(ticks, [f"{tick}" for tick in ticks])
    axes.set_xlabel("gamma (most tokens drafted in a block)")
    _title(axes, item, item.contender.method)


def _by_cost(axes: "Axes", group: Sequence[Scored], costs: Sequence[Costs]) -> None:
    """Draw expected speedup at the best gamma over cost, a line for each draft."""
    end = max(0.5, *(cost.per_token for cost in costs))
    grid = [Costs(end * index / (POINTS - 1)) for index in range(POINTS)]
    lines = []
    for number, item in enumerate(group):
        highest = [max(1.0, *expected_speedups(item.by_gamma, cost).values()) for cost in grid]
        lines += axes.plot(
            [cost.per_token for cost in grid],
            highest,
            color=COLOURS[number % len(COLOURS)],
            linestyle=DASHES[number // len(COLOURS) % len(DASHES)],
        )
    _line_at_one(axes)
    names = [shorten(item.contender.method, 20) for item in group]
    axes.legend(lines, names, loc="upper right", ncols=1 + len(names) // 6)
    axes.set_xlabel("cost of a drafted token, c + w (target passes)")
    axes.set_xlim(0, end)
    _title(axes, group[0], "at the best gamma")


def _name(cost: Costs) -> str:
    return f"{cost.per_token:g}"


def _mark(axes: "Axes", gamma: int, number: Number, colour: str) -> None:
    """Mark a gamma with its interval."""
    low = number.value if number.low is None else number.low
    high = number.value if number.high is None else number.high
    axes.vlines(gamma, low, high, color=colour)
    axes.plot([gamma], [number.value], "o", color=colour, markersize=4)


def _line_at_one(axes: "Axes") -> None:
    axes.axhline(1.0, color=GREY, linestyle="--", linewidth=1.0)


def _scale(axes: "Axes", highest: float) -> None:
    """Give every panel the same scale, of ratios; what is far below 1 matters to nobody."""
    axes.set_yscale("log", base=2)
    ticks = [tick for tick in TICKS if tick <= highest]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_ylim(TICKS[0], highest * 1.1)
    axes.set_ylabel("expected speedup (times)")


def _title(axes: "Axes", item: Scored, what: str) -> None:
    who = item.contender
    above = shorten(f"{what}, temperature {item.temperature:g}", TITLE_WIDTH)
    axes.set_title(f"{above}\n{shorten(f'{who.task}, {who.pair}', TITLE_WIDTH)}", loc="left")


def _legend(canvas: "Figure", axes: "Axes") -> None:
    """Say once, below, what the lines of every draft's panel are."""
    lines, names = axes.get_legend_handles_labels()
    canvas.legend(
        lines,
        names,
        loc="outside lower center",
        ncols=len(names),
        title="cost of a drafted token, c + w (target passes); dashed: the target alone;\n"
        "dot: the shortest gamma not told from the best, with its 95 % interval",
    )
