"""The figure of measured against predicted speedup, and the cost of a drafted token."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from draftmark.analysis.predicted_speedup import drafting_cost, predicted_speedup
from draftmark.analysis.stored_speed import stored_conditions, stored_convention
from draftmark.reports._figures import style
from draftmark.reports._figures.drawing import NUMBER, Drawing, NotDrawn
from draftmark.reports._figures.run import DrawnRun
from draftmark.reports._shared.rows import conditions_of, first_speed_settings, group_by
from draftmark.results import Cell, Contender, Number, Result
from draftmark.store.acceptance_tables import read_tables
from draftmark.store.records import DECODES, read_decodes, tables_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEW = 7  # entries of a legend that is below the picture, not beside it
_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 12, 16)


@dataclass(frozen=True)
class Speed:
    """A cell's measured and predicted speedup under one speed condition."""

    cell: Cell
    measured: Number
    predicted: Number | None
    cost: float | None  # c + w of a drafted token, in plain passes
    where: str  # the speed condition as in the numbers' keys
    how: str  # the source of the prediction

    @property
    def shape(self) -> str:
        """What the shape of a point stands for: the engine and the batch size."""
        terms = conditions_of(self.where)
        return f"{terms.get('engine', 'engine unknown')}, batch {terms.get('batch', 1)}"


Point = tuple[Speed, Number]  # with its predicted speedup


def speeds_of(run: DrawnRun) -> list[Speed]:
    """Return the speeds of all cells, the first condition first.

    Predictions come from timed passes if the cell has them, else from its decodes and tables.
    """
    settings: Mapping[str, Any] = run.results.recipe.get("speed") or {}
    rows = run.done if settings else ()
    return [
        found
        for row in rows
        for found in list(_of_parts(row)) or filter(None, [_of_records(run, row, settings)])
    ]


def _of_parts(row: Result) -> Iterator[Speed]:
    start, numbers = "predicted_speedup[", row.numbers
    for where in [key.removeprefix(start)[:-1] for key in numbers if key.startswith(start)]:
        if measured := numbers.get(f"speedup[{where}]"):
            terms = (f"{name}[{where}]" for name in ("cost_ratio", "verification_cost"))
            cost = max(0.0, sum(numbers[name].value for name in terms if name in numbers))
            predicted = numbers[f"{start}{where}]"]
            yield Speed(row.cell, measured, predicted, cost, where, "parts timed by themselves")


def _of_records(run: DrawnRun, row: Result, settings: Mapping[str, Any]) -> Speed | None:
    folder, first = run.directory / row.records, first_speed_settings(settings)
    label = stored_conditions(settings, run.directory)[0].label
    measured = row.numbers.get(f"speedup[{label}]", row.numbers.get("speedup"))
    unbatched = first["batch_size"] == 1
    if not (unbatched and measured and row.records and (folder / DECODES).is_file()):
        return None
    timed = read_decodes(folder / DECODES)
    convention = stored_convention(folder)
    file = folder / tables_name(first["temperature"])
    gamma = first["num_speculative_tokens"]
    tables = read_tables(file) if file.is_file() else []
    rule = first.get("verification", "standard")
    predicted = predicted_speedup(timed, tables, gamma, convention, rule)
    cost = drafting_cost(timed, convention)
    return Speed(row.cell, measured, predicted, cost, label, "the other blocks")


def drafting_costs(found: Sequence[Speed]) -> dict[Contender, float]:
    """Return each contender's cost of a drafted token in plain passes, averaged over seeds.

    The condition with the smallest batch, then the longest blocks, counts: with more tokens the
    time that each adds to a pass is measured more precisely.
    """
    by_cell: dict[Cell, float | None] = {}
    for item in sorted(found, key=_batch_and_block):
        by_cell.setdefault(item.cell, item.cost)
    by_contender: dict[Contender, list[float]] = {}
    for cell, cost in by_cell.items():
        if cost is not None:
            by_contender.setdefault(cell.contender, []).append(cost)
    return {contender: fmean(costs) for contender, costs in by_contender.items()}


def _batch_and_block(item: Speed) -> tuple[int, int]:
    terms = conditions_of(item.where)
    return int(terms.get("batch", 1)), -int(terms.get("gamma", 0))


def draw_speeds(run: DrawnRun, found: Sequence[Speed]) -> Drawing | NotDrawn:
    """Return the figure of measured against predicted speedup."""
    name = "measured-against-predicted"
    points = [(item, item.predicted) for item in found if item.predicted]
    if not points:
        why = "no speed was run, or its records or the tables at its temperature are missing"
        return NotDrawn(name, why)
    drawn = [point for point in points if point[0].cell.contender not in run.unmoved]
    if not drawn:
        return NotDrawn(name, "no draft with a speedup learned anything")
    looks = _looks(run, drawn)
    methods = [item.cell.method for item, _ in drawn]
    return Drawing(
        name,
        "Measured against predicted speedup, prefill included: a point for each method, task, seed "
        "and condition. Predictions use separately timed passes, or else the expected passes of "
        "the same prompts and the cost of a drafted token in the other blocks of the run. Points "
        "below the line have engine overhead, which the prediction omits. Bars are 95% intervals "
        "over blocks.",
        _inches(run.paper, looks),
        (
            *(Contender, "seed", "measured_on", "predicted_from", "cost_of_a_drafted_token"),
            *(f"{which}_{column}" for which in ("measured", "predicted") for column in NUMBER),
        ),
        [
            (i.cell.contender, i.cell.seed, i.where, i.how, i.cost, i.measured, predicted)
            for i, predicted in points
        ],
        lambda figure: _fill(figure, run, drawn, looks),
        run.notes(run.grey_note(methods)),
    )


def _inches(paper: style.Paper, looks: Mapping[str, style.Look]) -> tuple[float, float]:
    if len(looks) > _FEW:
        return paper.page, 3.2
    return paper.column, 2.85 + style.legend_inches(looks, paper.column)


def _shapes(points: Sequence[Point]) -> dict[str, str]:
    """Return the marker of each engine and batch; {} if there is only one."""
    shapes = list(dict.fromkeys(item.shape for item, _ in points))
    markers = {
        shape: style.MARKERS[index % len(style.MARKERS)] for index, shape in enumerate(shapes)
    }
    return markers if len(shapes) > 1 else {}


def _looks(run: DrawnRun, points: Sequence[Point]) -> dict[str, style.Look]:
    """Return the entries of the legend: methods by colour, then engines and batches by shape."""
    methods, shapes = run.looks(item.cell.method for item, _ in points), _shapes(points)
    if shapes:
        methods = {name: replace(look, marker="_") for name, look in methods.items()}
    return methods | {name: style.Look("#000000", mark, "-") for name, mark in shapes.items()}


def _fill(
    figure: "Figure", run: DrawnRun, points: Sequence[Point], looks: Mapping[str, style.Look]
) -> None:
    axes, shapes = figure.subplots(), _shapes(points)
    groups = group_by(points, lambda point: (point[0].cell.method, point[0].shape))
    for (method, shape), group in groups.items():
        look = run.look(method)
        axes.errorbar(
            [predicted.value for _, predicted in group],
            [item.measured.value for item, _ in group],
            xerr=style.error_bars([predicted for _, predicted in group]),
            yerr=style.error_bars([item.measured for item, _ in group]),
            elinewidth=0.7,
            **replace(look, marker=shapes.get(shape, look.marker)).point,
        )
    _scale(axes, [each for item, predicted in points for each in (item.measured, predicted)])
    axes.set_xlabel("predicted speedup (times)")
    axes.set_ylabel("measured speedup (times)")
    style.legend(figure, looks, points=looks, beside=len(looks) > _FEW)


def _scale(axes: "Axes", numbers: Sequence[Number]) -> None:
    """Give both axes the same logarithmic scale, with the line of equality.

    Intervals are cut at half the lowest value and at twice the highest.
    """
    from matplotlib.ticker import NullLocator

    lowest, highest = min(each.value for each in numbers), max(each.value for each in numbers)
    lows = [each.low for each in numbers if each.low is not None]
    highs = [each.high for each in numbers if each.high is not None]
    low = max(lowest / 2, min(0.9, lowest, *lows)) / 1.05
    high = min(highest * 2, max(1.1, highest, *highs)) * 1.05
    axes.plot([low, high], [low, high], **style.REFERENCE)
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_minor_locator(NullLocator())
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_aspect("equal", anchor="E")  # beside a legend on the right
