"""Validation acceptance against training FLOPs: a curve of each training, a panel of each pair."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from draftmark.reports._figures import style
from draftmark.reports._figures.drawing import Drawing, NotDrawn
from draftmark.reports._figures.flops_scale import flops_scale
from draftmark.reports._figures.run import DrawnRun, Place, choose_places
from draftmark.results import Contender, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS, _MOST_PANELS = 2, 8
_ROW_INCHES = 2.4
_LEAST_POINTS = 3  # of a training, the start among them
CRITERION = "validation_acceptance"
Curve = Sequence[tuple[float, float]]  # FLOPs and acceptance
Curves = Mapping[int, Curve]  # by seed


def draw_progress(run: DrawnRun) -> Drawing | NotDrawn:
    """Return the figure of validation acceptance while drafts trained."""
    found = {item: curves for item in run.numbers if (curves := _curves(run, item))}
    if not found:
        return NotDrawn("progress", "no training was validated by acceptance more than once")
    drawn, left = choose_places(found, _MOST_PANELS)
    methods = list(dict.fromkeys(m for place in drawn for m in run.at_place(found, place)))
    rows = len(style.in_rows(len(drawn), _COLUMNS))
    width = run.paper.column if len(drawn) == 1 else run.paper.page
    return Drawing(
        "progress",
        "Acceptance on validation rows against training compute, a curve for each seed: the best "
        "checkpoint so far, which a training keeps if it ends there. The ledger's FLOPs are "
        "spread evenly over its steps; those of a reference come before the curve.",
        (width, rows * _ROW_INCHES + style.legend_inches(run.looks(methods), width)),
        (Contender, "seed", "flops", CRITERION),
        [
            (item, seed, *point)
            for item, curves in found.items()
            for seed, curve in curves.items()
            for point in curve
        ],
        lambda figure: _fill(figure, run, methods, drawn, found),
        run.notes(run.grey_note(methods), left),
    )


def _curves(run: DrawnRun, contender: Contender) -> Curves:
    curves = {row.cell.seed: progress(row) for row in run.cells(contender)}
    return {seed: curve for seed, curve in curves.items() if len(curve) >= _LEAST_POINTS}


def progress(row: Result) -> Curve:
    """Return FLOPs and best validation acceptance so far at each validation after the start.

    Steps before the history's own are those of a reference. Empty without training, or if another
    criterion chose the checkpoint.
    """
    points = [point for point in row.history if CRITERION in point]
    if not (points and row.ledger and row.ledger.flops):
        return ()
    before = row.ledger.steps - points[-1]["step"]
    per_step = row.ledger.flops / row.ledger.steps
    best = accumulate((point[CRITERION] for point in points), max)
    return [
        ((before + point["step"]) * per_step, value)
        for point, value in zip(points, best, strict=True)
        if before + point["step"] > 0  # a logarithmic scale has no 0
    ]


def _fill(
    figure: "Figure",
    run: DrawnRun,
    methods: Sequence[str],
    drawn: Sequence[Place],
    found: Mapping[Contender, Curves],
) -> None:
    every = style.named_panels(
        figure, len(drawn), _COLUMNS, "training, FLOPs", "validation acceptance"
    )
    for axes, place in zip(every, drawn, strict=True):
        curves = run.at_place(found, place)
        for method in sorted(curves, key=lambda method: method in run.curves):
            _draw(axes, run, method, curves[method])
        spent = [flops for own in curves.values() for curve in own.values() for flops, _ in curve]
        flops_scale(axes, 0.9 * min(spent), 1.1 * max(spent))
        axes.set_title(run.title(place), loc="left")
    style.legend(figure, run.looks(methods))


def _draw(axes: "Axes", run: DrawnRun, method: str, curves: Curves) -> None:
    look = run.look(method).line | {"linewidth": 0.8, "markersize": 4, "markevery": [-1]}
    for curve in curves.values():
        axes.plot(*zip(*curve, strict=True), **look)
