"""The trend on the list of runs as data: a chart for each task, pair and temperature."""

from collections.abc import Iterator, Sequence

from draftmark.analysis.titles import task_title
from draftmark.reports._shared.rows import group_by
from draftmark.reports._shared.series import RatedRun, Series, in_order, series_over
from draftmark.reports._site.charts import Chart
from draftmark.reports._site.numbers import rounded
from draftmark.results import Number
from draftmark.text import printable_text

MOST_METHODS, MOST_CHARTS, _MOST_BARS = 6, 12, 60  # lines in a chart; charts; runs with intervals
_LEAST = 0.02  # the smallest change of level, in tokens per pass


def trend_charts(runs: Sequence[RatedRun]) -> tuple[list[Chart], list[str]]:
    """Return the charts of a rate over runs, the oldest first, and sentences on new levels.

    There are none with fewer than two runs. A chart has the methods whose level changed, then the
    highest ones.
    """
    ordered = in_order(runs)
    labels = [printable_text(item.run.label) for item in ordered]
    every = [item for item in series_over(ordered, _LEAST) if len(item.known) > 1]
    groups = group_by(every, lambda it: (it.contender.task, it.contender.pair, it.temperature))
    charts = [_chart(lines, labels) for lines in list(groups.values())[:MOST_CHARTS]]
    return charts, [words for item in every for words in _new_levels(item)]


def _chart(lines: Sequence[Series], labels: Sequence[str]) -> Chart:
    shown = sorted(lines, key=lambda item: (not item.steps, -item.known[-1][1].value))
    more = len(lines) - MOST_METHODS
    return {
        "kind": "line",
        "title": _title(lines[0]) + (f"; {more} more methods are not drawn" if more > 0 else ""),
        "x": "run",
        "y": f"tokens per pass, blocks of {lines[0].gamma}",
        "names": labels,
        "series": [_line(item, len(labels)) for item in shown[:MOST_METHODS]],
    }


def _title(item: Series) -> str:
    who = item.contender
    return printable_text(f"{task_title(who.task)}, {who.pair}, T={item.temperature:g}")


def _line(item: Series, num_runs: int) -> Chart:
    bars = num_runs <= _MOST_BARS
    points = [[run.place, *_values(number, bars)] for run, number in item.known]
    return {"name": printable_text(item.contender.method, 60), "points": points}


def _values(number: Number, bars: bool) -> list[float | None]:
    known = bars and number.low is not None
    return list(map(rounded, (number.value, number.low, number.high)[: 3 if known else 1]))


def _new_levels(item: Series) -> Iterator[str]:
    for step in item.steps:
        (_, before), (run, after) = item.known[step - 1], item.known[step]
        where = f"{item.contender.method} on {_title(item)}"
        levels = f"{before.value:.2f} before, {after.value:.2f} from {run.label}"
        yield printable_text(f"{where}: {levels}.")
