"""Measured against predicted speedup; and what speed runs say that a drafted token costs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from draftmark.analysis.predicted_speedup import drafting_cost, predicted_speedup
from draftmark.analysis.stored_speed import convention_in
from draftmark.reports._figures import grids
from draftmark.reports._figures.drawing import Drawing, NotDrawn, number, spread
from draftmark.reports._figures.run import MOST_METHODS, Run, first
from draftmark.reports._figures.style import COLUMN, GREY
from draftmark.reports._shared.rows import headline
from draftmark.reports._shared.speed_rows import terms_of
from draftmark.results import Cell, Contender, Number, Result
from draftmark.store.acceptance_tables import read_tables
from draftmark.store.records import DECODES, read_decodes, tables_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "measured-against-predicted"
_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 12, 16)


@dataclass(frozen=True)
class Speed:
    """A cell's speedup as measured and as predicted, and what a drafted token cost there."""

    cell: Cell
    measured: Number
    predicted: Number | None
    cost: float | None
    where: str  # what it was measured on, as the numbers' keys have it; "" of the headline
    how: str  # what the prediction is made of


def speeds(run: Run) -> list[Speed]:
    """Return what the speed runs of the methods that are drawn say, the headline first.

    By the parts that were timed by themselves, where they were; else by the records.
    """
    told: Mapping[str, Any] = run.results.recipe.get("speed") or {}
    methods = set(run.methods[:MOST_METHODS])
    rows = [row for row in run.done if told and row.cell.method in methods]
    return [
        found
        for row in rows
        for found in list(_of_parts(row)) or filter(None, [_of_records(run, row, told)])
    ]


def _of_parts(row: Result) -> Iterator[Speed]:
    start, own = "predicted_speedup[", row.numbers
    for where in [key.removeprefix(start)[:-1] for key in own if key.startswith(start)]:
        if measured := own.get(f"speedup[{where}]"):
            terms = (f"{name}[{where}]" for name in ("cost_ratio", "verification_cost"))
            cost = max(0.0, sum(own[name].value for name in terms if name in own))
            predicted = own[f"{start}{where}]"]
            yield Speed(row.cell, measured, predicted, cost, where, "parts timed by themselves")


def _of_records(run: Run, row: Result, told: Mapping[str, Any]) -> Speed | None:
    folder, measured = run.directory / row.records, row.numbers.get("speedup")
    first_of = headline(told)
    alone = first_of["batch_size"] == 1
    if not (alone and measured and row.records and (folder / DECODES).is_file()):
        return None
    timed = read_decodes(folder / DECODES)
    convention = convention_in(folder)
    file = folder / tables_name(first_of["temperature"])
    gamma = first_of["num_speculative_tokens"]
    tables = read_tables(file) if file.is_file() else []
    predicted = predicted_speedup(timed, tables, gamma, convention)
    cost = drafting_cost(timed, convention)
    return Speed(row.cell, measured, predicted, cost, "", "the other blocks")


def costs(found: Sequence[Speed]) -> dict[Contender, float]:
    """Return what a drafted token of each contender costs, over seeds, where that is known.

    Of several conditions that of the smallest batch with the longest blocks: over most tokens, what
    one adds to a pass is told best.
    """
    known: dict[Cell, Speed] = {}
    for item in sorted(found, key=_smallest_batch_longest_block):
        known.setdefault(item.cell, item)
    by_contender: dict[Contender, list[float]] = {}
    for cell, item in known.items():
        if item.cost is not None:
            by_contender.setdefault(cell.contender, []).append(item.cost)
    return {who: fmean(values) for who, values in by_contender.items()}


def _smallest_batch_longest_block(item: Speed) -> tuple[int, int]:
    told = terms_of(item.where)
    return int(told.get("batch", 1)), -int(told.get("gamma", 0))


def figures(run: Run, found: Sequence[Speed]) -> Iterator[Drawing | NotDrawn]:
    """Yield the figure."""
    points = [(item, item.predicted) for item in found if item.predicted]
    if not points:
        why = "no speed was run, or its records or the tables at its temperature are not here"
        yield NotDrawn(NAME, why)
        return
    methods, left = first(run.methods, MOST_METHODS, "methods")
    numbers = ("value", "low", "high", "n")
    yield Drawing(
        NAME,
        "Measured against predicted speedup, prefill included: a point for each method, task, seed "
        "and condition. Predicted from what the parts of a block take by themselves; where they "
        "were not timed, from the expected passes of the same prompts and what drafted tokens cost "
        "in the other blocks of the run. Below the line an engine's overheads are more than that. "
        f"Bars are 95 % intervals over blocks.{_fillings(points)}",
        (COLUMN, 2.85 + grids.height(0, methods, COLUMN)),
        (
            *("task", "pair", "method", "seed", "measured_on"),
            *("predicted_from", "cost_of_a_drafted_token"),
            *(f"measured_{name}" for name in numbers),
            *(f"predicted_{name}" for name in numbers),
        ),
        [
            (
                *(item.cell.task, item.cell.pair, item.cell.method, item.cell.seed),
                *(item.where, item.how, item.cost),
                *number(item.measured),
                *number(predicted),
            )
            for item, predicted in points
        ],
        lambda figure: _fill(figure, run, methods, points),
        left,
    )


def _engine(item: Speed) -> str:
    return terms_of(item.where).get("engine", "")


def _fillings(points: Sequence[tuple[Speed, Number]]) -> str:
    """Return what tells engines apart, where there are several: the first one's points are full."""
    full, *others = dict.fromkeys(_engine(item) for item, _ in points)
    return f" Full: {full}; hollow: {', '.join(others)}." if others else ""


def _fill(
    figure: "Figure",
    run: Run,
    methods: Sequence[str],
    points: Sequence[tuple[Speed, Number]],
) -> None:
    axes = figure.subplots()
    shown = [(item, predicted) for item, predicted in points if item.cell.method in methods]
    groups: dict[tuple[str, str], list[tuple[Speed, Number]]] = {}
    for item, predicted in shown:
        groups.setdefault((item.cell.method, _engine(item)), []).append((item, predicted))
    for (method, engine), mine in groups.items():
        look = run.look(method)
        axes.errorbar(
            [predicted.value for _, predicted in mine],
            [item.measured.value for item, _ in mine],
            xerr=spread([predicted for _, predicted in mine]),
            yerr=spread([item.measured for item, _ in mine]),
            elinewidth=0.7,
            markerfacecolor=look.colour if engine == _engine(points[0][0]) else "white",
            **look.point,
        )
    _scale(axes, [each for item, predicted in shown for each in (item.measured, predicted)])
    axes.set_xlabel("predicted speedup (times)")
    axes.set_ylabel("measured speedup (times)")
    there = list(dict.fromkeys(item.cell.method for item, _ in shown))
    grids.legend(figure, run, there, points=there)


def _scale(axes: "Axes", numbers: Sequence[Number]) -> None:
    """Give both sides the same scale, of ratios, with the line where they agree.

    Intervals are cut at half the lowest value and at twice the highest.
    """
    from matplotlib.ticker import NullLocator

    lowest, highest = min(each.value for each in numbers), max(each.value for each in numbers)
    lows = [each.low for each in numbers if each.low is not None]
    highs = [each.high for each in numbers if each.high is not None]
    low = max(lowest / 2, min(0.9, lowest, *lows)) / 1.05
    high = min(highest * 2, max(1.1, highest, *highs)) * 1.05
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    for axis in (axes.xaxis, axes.yaxis):
        axis.axes.set_xscale("log", base=2)
        axis.axes.set_yscale("log", base=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_minor_locator(NullLocator())
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")
