"""The figure of a trend: a panel for each task, pair and temperature, a line for each method."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from draftmark.reports._figures.style import COLOURS, DASHES, GREY, draw, panels
from draftmark.results import Contender, Number
from draftmark.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = (6.4, 2.9)  # inches
_COLUMNS, _MOST_PANELS, _TICKS = 2, 24, 6
_LONGEST_NAME, _MOST_MARKS = 40, 60


class Dated(Protocol):
    """A run: where it stands, by number and by date, and what it is called."""

    @property
    def place(self) -> int: ...

    @property
    def date(self) -> datetime: ...

    @property
    def label(self) -> str: ...


class Line(Protocol):
    """What is drawn: a contender's numbers by run, and the places of new levels among them."""

    @property
    def contender(self) -> Contender: ...

    @property
    def temperature(self) -> float: ...

    @property
    def steps(self) -> tuple[int, ...]: ...

    @property
    def known(self) -> Sequence[tuple[Dated, Number]]: ...


def figure(every: Sequence[Line], runs: Sequence[Dated], rate: str, *, by_date: bool) -> bytes:
    """Return the PNG; of more than 24 panels the first 24, all the rest is in the CSV file."""
    groups: dict[tuple[str, str, float], list[Line]] = {}
    for line in every:
        if line.known:
            where = (line.contender.task, line.contender.pair, line.temperature)
            groups.setdefault(where, []).append(line)
    shown = list(groups.items())[:_MOST_PANELS]
    columns = min(_COLUMNS, len(shown))
    rows = [len(shown[start : start + columns]) for start in range(0, len(shown), columns)]

    def fill(drawn: "Figure") -> None:
        for axes, ((task, pair, temperature), lines) in zip(
            panels(drawn, rows), shown, strict=True
        ):
            title = f"{task}, {pair}, temperature {temperature:g}"
            axes.set_title(plain(title, 2 * _LONGEST_NAME))
            _panel(axes, lines, by_date)
            axes.set_ylabel(rate)
            _ticks(axes, runs, by_date)

    return draw(len(rows), columns, _PANEL, fill)


def _panel(axes: "Axes", lines: Sequence[Line], by_date: bool) -> None:
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        dash = DASHES[index // len(COLOURS) % len(DASHES)]
        x = [_where(run, by_date) for run, _ in line.known]
        y = [number.value for _, number in line.known]
        lows = [number.value if number.low is None else number.low for _, number in line.known]
        highs = [number.value if number.high is None else number.high for _, number in line.known]
        axes.fill_between(x, lows, highs, color=colour, alpha=0.15, linewidth=0)
        name = plain(line.contender.method, _LONGEST_NAME)
        marker = "o" if len(x) <= _MOST_MARKS else ""
        axes.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=3, label=name)
        for step in line.steps:
            middle = (x[step - 1] + x[step]) / 2
            axes.axvline(middle, color=GREY, linewidth=0.8, linestyle=":")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _where(run: Dated, by_date: bool) -> float:
    return run.date.timestamp() if by_date else float(run.place)


def _ticks(axes: "Axes", runs: Sequence[Dated], by_date: bool) -> None:
    """Name some of the runs, evenly apart, by commit and day."""
    last = len(runs) - 1
    named = [runs[place] for place in sorted({round(n * last / _TICKS) for n in range(_TICKS + 1)})]
    labels = [plain(run.label).replace(" ", "\n", 1) for run in named]
    axes.set_xticks([_where(run, by_date) for run in named], labels, fontsize=6)
