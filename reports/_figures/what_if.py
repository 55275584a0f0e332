"""The figure of the what-if report: expected speedup by block length and by cost."""

from collections.abc import Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

from draftmark.analysis.cost_model import Costs, expected_speedup, expected_speedups
from draftmark.analysis.titles import method_title, task_title
from draftmark.reports._figures import style
from draftmark.reports._figures.choice import MOST_CURVES
from draftmark.reports._shared.acceptance import ScoredDraft, advice_at
from draftmark.reports._shared.rows import group_by
from draftmark.text import printable_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_COLUMNS = 4
PANEL_INCHES = (3.6, 3.0)
POINTS = 101  # of a curve over cost
TITLE_WIDTH = 42  # characters
TICKS = (0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # of speedup


def what_if_png(found: Sequence[ScoredDraft], costs: Sequence[Costs]) -> bytes:
    """Return the PNG: for each task, pair and temperature a panel per draft and one by cost.

    Each group starts a row; many drafts take several rows. Of more than MOST_CURVES drafts of a
    group the best are drawn.
    """
    by_place = group_by(found, _place)
    groups = [best_drafts(group) for group in by_place.values()]
    rows = [size for group in groups for size in style.in_rows(len(group) + 1, MAX_COLUMNS)]

    def fill(figure: "Figure") -> None:
        free = iter(style.add_panels(figure, rows))
        drafts = []
        for group in groups:
            for item in group:
                drafts.append(next(free))
                _by_gamma(drafts[-1], item, costs)
            _by_cost(next(free), group, costs)
        highest = max(1.0, *(axes.dataLim.y1 for axes in figure.axes))
        for axes in figure.axes:
            _scale(axes, highest)
        _legend(figure, drafts[0])

    return style.draw_png(len(rows), max(rows), PANEL_INCHES, fill)


def _place(item: ScoredDraft) -> tuple[str, str, float, str]:
    return item.contender.task, item.contender.pair, item.temperature, item.how


def best_drafts(group: Sequence[ScoredDraft]) -> list[ScoredDraft]:
    """Return the drafts with most tokens per pass, in order; it is the speedup without costs."""
    by_speed = sorted(
        group, key=lambda item: -max(expected_speedups(item.by_gamma, Costs(0.0)).values())
    )
    return by_speed[:MOST_CURVES]


def _by_gamma(axes: "Axes", item: ScoredDraft, costs: Sequence[Costs]) -> None:
    """Draw expected speedup over gamma, a line for each cost; mark the recommended gamma."""
    for cost, colour in zip(costs, style.ordered_colours(len(costs)), strict=True):
        speedups = expected_speedups(item.by_gamma, cost)
        x, y = list(speedups), list(speedups.values())
        axes.plot(x, y, color=colour, label=f"{cost.per_token:g}")
        if gamma := advice_at(item, cost).gamma:
            best = expected_speedup(item.by_gamma[gamma], cost)
            values, lows, highs = style.interval_ends([best])
            axes.vlines(gamma, lows, highs, color=colour)
            axes.plot([gamma], values, "o", color=colour, markersize=4)
    axes.set_xscale("log", base=2)
    ticks = [2**power for power in range(6) if 2**power <= max(item.by_gamma)]
    axes.set_xticks(ticks, [f"{tick}" for tick in ticks])
    axes.set_xlabel("block length, drafted tokens")
    _title(axes, item, method_title(item.contender.method))


def _by_cost(axes: "Axes", group: Sequence[ScoredDraft], costs: Sequence[Costs]) -> None:
    """Draw the expected speedup at the best gamma over cost, a line for each draft."""
    end = max(0.5, *(cost.per_token for cost in costs))
    grid = [Costs(end * index / (POINTS - 1)) for index in range(POINTS)]
    lines = []
    for number, item in enumerate(group):
        highest = [max(1.0, *expected_speedups(item.by_gamma, cost).values()) for cost in grid]
        look = style.Look.of(number)
        x = [cost.per_token for cost in grid]
        lines += axes.plot(x, highest, color=look.colour, linestyle=look.dash)
    names = [_short(method_title(item.contender.method), 24) for item in group]
    axes.legend(lines, names, loc="upper right", ncols=1 + len(names) // 6)
    axes.set_xlabel("cost of a drafted token, c + w (target passes)")
    axes.set_xlim(0, end)
    _title(axes, group[0], "best block length")


def _scale(axes: "Axes", highest: float) -> None:
    """Set the same logarithmic scale from 0.5 on, with a line at 1 for the target alone."""
    axes.axhline(1.0, color=style.GREY, linestyle="--", linewidth=1.0)
    axes.set_yscale("log", base=2)
    ticks = [tick for tick in TICKS if tick <= highest]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_ylim(TICKS[0], highest * 1.1)
    axes.set_ylabel("expected speedup (times)")


def _title(axes: "Axes", item: ScoredDraft, what: str) -> None:
    place = f"{task_title(item.contender.task)}, {item.contender.pair}"
    above = _short(f"{what}, T={item.temperature:g}{item.how}", TITLE_WIDTH)
    axes.set_title(f"{above}\n{_short(place, TITLE_WIDTH)}", loc="left")


def _short(text: str, longest: int) -> str:
    return shorten(printable_text(text), longest)


def _legend(figure: "Figure", axes: "Axes") -> None:
    """Draw one legend below all panels for the lines by cost."""
    lines, names = axes.get_legend_handles_labels()
    figure.legend(
        lines,
        names,
        loc="outside lower center",
        ncols=len(names),
        title="cost of a drafted token, c + w (target passes); dashed: the target alone;\n"
        f"at most {MOST_CURVES} drafts, those with most tokens per pass; "
        "dot: the shortest length not significantly slower than the best, with its 95% interval",
    )
