"""Panels of lines, a row for each task and pair, with one legend for all of them below."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from draftmark.reports._figures.run import Run
from draftmark.reports._figures.style import GREY, PAGE, label
from draftmark.results import Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_INCHES, TALL_INCHES = 1.75, 2.3  # of several rows, of the only one
_CROWD = 6  # methods, above which bands are paler and points fewer
MOST_ROWS = 5  # on a page
_LETTER_INCHES, _HANDLE_INCHES, _LEGEND_ROW_INCHES = 0.054, 0.37, 0.145

OF_TARGET: dict[str, Any] = {"color": "#000000", "marker": "*", "markersize": 6, "linestyle": "-"}

Line = tuple[Sequence[float], Sequence[Number]]  # where, and what there


@dataclass(frozen=True)
class Panel:
    """A panel: a line with its intervals for each method."""

    title: str
    across: str
    up: str
    lines: Mapping[str, Line]
    level: float | None = None  # a value that all are held against
    ends: tuple[float, float] | None = None  # of the values, where they have some


def height(rows: int, methods: Sequence[str], width: float = PAGE) -> float:
    """Return the inches that a grid and its legend need."""
    lines = -(-len(methods) // _columns(methods, width))
    return rows * (ROW_INCHES if rows > 1 else TALL_INCHES) + lines * _LEGEND_ROW_INCHES + 0.15


def fill(figure: "Figure", run: Run, grid: Sequence[Sequence[Panel]]) -> None:
    """Draw the panels; those of a column have the same ends."""
    axes = figure.subplots(len(grid), len(grid[0]), squeeze=False, sharex="col", sharey="col")
    for row, (mine, told) in enumerate(zip(axes, grid, strict=True)):
        for one, panel in zip(mine, told, strict=True):
            _panel(one, panel, run)
            if row == len(grid) - 1:
                one.set_xlabel(panel.across)
    legend(
        figure, run, list(dict.fromkeys(name for row in grid for it in row for name in it.lines))
    )


def legend(
    figure: "Figure",
    run: Run,
    methods: Sequence[str],
    *,
    points: Collection[str] = (),
    target: str | None = None,
) -> None:
    """Say below which method is which, and what the target is called if it is drawn.

    `points`: methods that have no lines.
    """
    from matplotlib.lines import Line2D

    looks = [run.look(method) for method in methods]
    styles = [
        look.point if method in points else look.line
        for method, look in zip(methods, looks, strict=True)
    ]
    handles = [Line2D([], [], **style) for style in styles]
    names = [label(method) for method in methods]
    if target:
        lone = {"linestyle": "none"} if set(methods) <= set(points) else {}
        handles.append(Line2D([], [], **OF_TARGET | lone))
        names.append(target)
    columns = _columns(names, figure.get_figwidth())
    figure.legend(handles, names, loc="outside lower center", ncols=columns)


def _columns(methods: Sequence[str], inches: float) -> int:
    longest = max((len(label(method)) for method in methods), default=1)
    most = max(1, int(inches / (longest * _LETTER_INCHES + _HANDLE_INCHES)))
    return max(1, min(most, len(methods)))


def _panel(axes: "Axes", panel: Panel, run: Run) -> None:
    from matplotlib.ticker import MaxNLocator

    if panel.level is not None:
        axes.axhline(panel.level, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    for method, (where, numbers) in panel.lines.items():
        look = run.look(method)
        values = [each.value for each in numbers]
        lows = [each.value if each.low is None else each.low for each in numbers]
        highs = [each.value if each.high is None else each.high for each in numbers]
        crowded = len(panel.lines) > _CROWD and len(where) > _CROWD
        shade = 0.07 if len(panel.lines) > _CROWD else 0.15
        axes.fill_between(where, lows, highs, color=look.colour, alpha=shade, linewidth=0)
        axes.plot(where, values, markevery=3 if crowded else 1, **look.line)
    if panel.ends:
        axes.set_ylim(*panel.ends)
    axes.set_title(panel.title, loc="left")
    axes.set_ylabel(panel.up)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
