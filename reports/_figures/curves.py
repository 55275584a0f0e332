"""Rows of panels with curves that are named at their ends; a row for each task and pair.

The curves of methods that a picture does not name are one grey band. A lookup whose curves would
flatten those of the drafts has a row of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from draftmark.reports._figures import style
from draftmark.reports._figures.labels import label_end
from draftmark.reports._figures.run import DrawnRun, Place, others_label, places_of
from draftmark.results import Contender, Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_INCHES, _TALL_INCHES = 1.75, 2.3  # height of a row: of several, of a single one
_PAGE_INCHES = 8.8  # height of the largest picture
_FLATTENS = 2  # a lookup that makes the range of values more than this much longer
_SHORT_NAME = 12  # characters; short names stand beside every panel
_MANY_POINTS = 6  # with more, every third is marked
Line = Mapping[int, Number]  # block length or position -> number
Lines = Mapping[str, Line]  # quantity -> line


@dataclass(frozen=True)
class Grid:
    """A grid of panels, a column for each quantity, with a line for each method."""

    across: str  # label of the horizontal axes
    columns: Mapping[str, tuple[str, str]]  # quantity -> (end of the title, vertical axis)
    found: Mapping[Contender, Lines]
    limits: tuple[float, float] | None = None  # of the vertical axes; None: a line at 1


@dataclass(frozen=True)
class Row:
    """A row of panels: named curves, and grey ones. `apart`: it has vertical axes of its own."""

    title: str
    lines: Mapping[str, Lines]  # by name
    looks: Mapping[str, style.Look]
    grey: Sequence[Lines] = field(default_factory=tuple)
    apart: bool = False


def grid_rows(run: DrawnRun, grid: Grid, places: Sequence[Place]) -> list[Row]:
    """Return a row for each place, and a last one for each lookup that would flatten the rest."""
    lookups = [] if grid.limits else list(_flattening(run, grid))
    rows = [_place_row(run, grid, place, lookups) for place in places]
    return [*rows, *(_lookup_row(run, grid, name, places) for name in lookups)]


def _place_row(run: DrawnRun, grid: Grid, place: Place, lookups: Sequence[str]) -> Row:
    found = run.at_place(grid.found, place)
    named = [method for method in run.curves if method in found and method not in lookups]
    grey = [found[name] for name in run.others if name in found and name not in lookups]
    lines = {run.name(method): found[method] for method in named}
    return Row(run.title(place), lines, run.looks(named), grey)


def _lookup_row(run: DrawnRun, grid: Grid, lookup: str, places: Sequence[Place]) -> Row:
    """Return the row of a lookup, with a curve for each place."""
    contenders = {run.title(place): Contender(*place, lookup) for place in places}
    lines = {name: grid.found[item] for name, item in contenders.items() if item in grid.found}
    looks = {name: style.Look.shape(index) for index, name in enumerate(lines)}
    return Row(run.name(lookup), lines, looks, apart=True)


def _flattening(run: DrawnRun, grid: Grid) -> Iterator[str]:
    """Yield methods without training whose curves leave the others less than half of the axis."""
    trained = {row.cell.method for row in run.done if row.ledger and row.ledger.steps}
    first = next(iter(grid.columns))
    values: dict[str, list[float]] = {}
    for place in places_of(grid.found):
        for method, lines in run.at_place(grid.found, place).items():
            values.setdefault(method, []).extend(each.value for each in lines[first].values())
    for method in [name for name in values if trained and name not in trained]:
        rest = [value for name, own in values.items() if name != method for value in own]
        if rest and _length([*rest, *values[method]]) > _FLATTENS * _length(rest):
            yield method


def _length(values: Sequence[float]) -> float:
    return max(values) - min(values)


def grid_inches(run: DrawnRun, rows: Sequence[Row]) -> tuple[float, float]:
    """Return the size of a grid of these rows."""
    height = len(rows) * (_ROW_INCHES if len(rows) > 1 else _TALL_INCHES) + 0.15
    return run.paper.page, min(height, _PAGE_INCHES)


def draw_grid(figure: "Figure", grid: Grid, rows: Sequence[Row]) -> None:
    """Draw the panels; those of a column share their horizontal axes, and most their vertical."""
    panels = figure.subplots(len(rows), len(grid.columns), squeeze=False, sharex="col")
    for line, row in zip(panels, rows, strict=True):
        for axes, first, (quantity, (end, up)) in zip(
            line, panels[0], grid.columns.items(), strict=True
        ):
            if axes is not first and not row.apart:
                axes.sharey(first)
            _panel(axes, row, quantity, grid)
            if end or axes is line[0]:
                axes.set_title(style.font_label(f"{row.title}{end}", 60), loc="left")
            axes.set_ylabel(up)
            _name_curves(axes, row, quantity, grid)
    for axes in panels[-1]:
        axes.set_xlabel(grid.across)


def _panel(axes: "Axes", row: Row, quantity: str, grid: Grid) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _grey_band(axes, [lines[quantity] for lines in row.grey])
    for name, lines in row.lines.items():
        _curve(axes, lines[quantity], row.looks[name])
    if grid.limits:
        axes.set_ylim(*grid.limits)
        return
    axes.axhline(1.0, **style.REFERENCE)
    shown = [lines[quantity] for lines in (*row.lines.values(), *row.grey)]
    style.scale_ratios(axes, "y", [each.value for line in shown for each in line.values()])


def _band(axes: "Axes", line: Line, look: Mapping[str, Any]) -> None:
    _, lows, highs = style.interval_ends(list(line.values()))
    axes.fill_between(list(line), lows, highs, linewidth=0, **look)


def _grey_band(axes: "Axes", lines: Sequence[Line]) -> None:
    """Draw the intervals of several curves as one band, with thin lines for the curves."""
    for line in lines:
        _band(axes, line, {"color": style.OTHERS_BAND})
    for line in lines:
        values = [each.value for each in line.values()]
        axes.plot(list(line), values, color=style.OTHERS, linewidth=0.5)


def _curve(axes: "Axes", line: Line, look: style.Look) -> None:
    _band(axes, line, {"color": look.colour, "alpha": 0.15})
    every = 3 if len(line) > _MANY_POINTS else 1
    axes.plot(list(line), [each.value for each in line.values()], markevery=every, **look.line)


def _name_curves(axes: "Axes", row: Row, quantity: str, grid: Grid) -> None:
    """Name curves at their ends; long names only in the last column that has the curve."""
    columns = list(grid.columns)
    later = columns[columns.index(quantity) + 1 :]
    short = all(len(name) <= _SHORT_NAME for name in row.lines)
    for name, lines in row.lines.items():
        if lines[quantity] and (short or not any(lines[other] for other in later)):
            colour = row.looks[name].colour
            label_end(axes, _end(lines[quantity]), style.font_label(name), colour)
    grey = sorted((_end(lines[quantity]) for lines in row.grey if lines[quantity]), key=_height)
    if grey and (short or not any(lines[other] for other in later for lines in row.grey)):
        label_end(axes, grey[len(grey) // 2], others_label(len(grey)), style.GREY)


def _end(line: Line) -> tuple[float, float]:
    last = max(line)
    return last, line[last].value


def _height(end: tuple[float, float]) -> float:
    return end[1]
