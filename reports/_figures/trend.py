"""The figure of a trend: a panel for each task, pair and temperature, a line for each method."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from draftmark.reports._figures import style
from draftmark.reports._shared.rows import group_by
from draftmark.reports._shared.series import DatedRun, Series
from draftmark.text import printable_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = (6.4, 2.9)  # inches
_COLUMNS, _MOST_PANELS, _TICKS = 2, 24, 6
_LONGEST_NAME, _MOST_MARKS = 40, 60


def trend_png(
    every: Sequence[Series], runs: Sequence[DatedRun], rate: str, *, by_date: bool
) -> bytes:
    """Return the PNG, with 24 panels at most; the CSV file has all series."""
    known = (item for item in every if item.known)
    groups = group_by(known, lambda i: (i.contender.task, i.contender.pair, i.temperature))
    shown = list(groups.items())[:_MOST_PANELS]
    columns = min(_COLUMNS, len(shown))
    rows = style.in_rows(len(shown), columns)

    def fill(figure: "Figure") -> None:
        for axes, (place, lines) in zip(style.add_panels(figure, rows), shown, strict=True):
            task, pair, temperature = place
            title = f"{task}, {pair}, temperature {temperature:g}"
            axes.set_title(printable_text(title, 2 * _LONGEST_NAME))
            _panel(axes, lines, by_date)
            axes.set_ylabel(rate)
            _name_runs(axes, runs, by_date)

    return style.draw_png(len(rows), columns, _PANEL, fill)


def _panel(axes: "Axes", lines: Sequence[Series], by_date: bool) -> None:
    for index, line in enumerate(lines):
        look = style.Look.of(index)
        x = [_place(run, by_date) for run, _ in line.known]
        y, lows, highs = style.interval_ends([number for _, number in line.known])
        axes.fill_between(x, lows, highs, color=look.colour, alpha=0.15, linewidth=0)
        axes.plot(
            x,
            y,
            color=look.colour,
            linestyle=look.dash,
            marker="o" if len(x) <= _MOST_MARKS else "",
            markersize=3,
            label=printable_text(line.contender.method, _LONGEST_NAME),
        )
        for step in line.steps:
            middle = (x[step - 1] + x[step]) / 2
            axes.axvline(middle, color=style.GREY, linewidth=0.8, linestyle=":")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _place(run: DatedRun, by_date: bool) -> float:
    return run.date.timestamp() if by_date else float(run.place)


def _name_runs(axes: "Axes", runs: Sequence[DatedRun], by_date: bool) -> None:
    """Label some of the runs, evenly spaced, with commit and day."""
    last = len(runs) - 1
    named = [runs[place] for place in sorted({round(n * last / _TICKS) for n in range(_TICKS + 1)})]
    labels = [printable_text(run.label).replace(" ", "\n", 1) for run in named]
    axes.set_xticks([_place(run, by_date) for run in named], labels, fontsize=6)
