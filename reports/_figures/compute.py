"""Acceptance rate against training FLOPs; a draft that does not train is a horizontal line."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from draftmark.reports._figures import style
from draftmark.reports._figures.drawing import Drawing, NotDrawn
from draftmark.reports._figures.flops_scale import flops_scale
from draftmark.reports._figures.run import DrawnRun, Place, choose_places, places_of
from draftmark.results import Contender, Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS, _MOST_PANELS = 3, 9
_ROW_INCHES = 2.1
_SAME, _APART = 1.03, 0.012  # largest ratio of equal FLOPs; their distance as share of the scale
_MARGIN, _LEAST = 1.15, 3.0  # factor around the points; least factor of the scale
Point = tuple[float, Number]  # FLOPs and acceptance


def draw_compute(run: DrawnRun, temperature: float) -> Drawing | NotDrawn:
    """Return the figure of acceptance rate over training FLOPs."""
    name = f"compute-t{temperature:g}"
    key = run.key("acceptance_rate", temperature)
    found = {
        item: (_flops(run, item), numbers[key])
        for item, numbers in run.numbers.items()
        if key in numbers
    }
    if not any(flops for flops, _ in found.values()):
        return NotDrawn(name, f"no draft was trained and scored at temperature {temperature:g}")
    if not any(_says_something(run.at_place(found, place)) for place in places_of(found)):
        return NotDrawn(name, "the trained drafts of a task have equal compute")
    drawn, left = choose_places(found, _MOST_PANELS)
    methods = list(dict.fromkeys(m for place in drawn for m in run.at_place(found, place)))
    rows = len(style.in_rows(len(drawn), _COLUMNS))
    width = run.paper.column if len(drawn) == 1 else run.paper.page
    return Drawing(
        name,
        f"Acceptance rate at temperature {temperature:g}, blocks of {run.gamma} drafted tokens, "
        "against training compute: the ledger's estimate of FLOPs of the draft and the target's "
        "head, mean over seeds. Horizontal lines are drafts that do not train. Bars are 95% "
        "intervals; points of equal compute are drawn side by side.",
        (width, rows * _ROW_INCHES + style.legend_inches(run.looks(methods), width)),
        (Contender, "temperature", "flops", Number),
        [(item, temperature, flops, rate) for item, (flops, rate) in found.items()],
        lambda figure: _fill(figure, run, methods, drawn, found),
        run.notes(run.grey_note(methods), left),
    )


def _says_something(points: Mapping[str, Point]) -> bool:
    """True if trained drafts differ in compute."""
    spent = [flops for flops, _ in points.values() if flops]
    return bool(spent) and max(spent) > _SAME * min(spent)


def _flops(run: DrawnRun, contender: Contender) -> float:
    return fmean(row.ledger.flops if row.ledger else 0.0 for row in run.cells(contender))


def _fill(
    figure: "Figure",
    run: DrawnRun,
    methods: Sequence[str],
    drawn: Sequence[Place],
    found: Mapping[Contender, Point],
) -> None:
    every = style.named_panels(figure, len(drawn), _COLUMNS, "training, FLOPs", "acceptance rate")
    low, high = _ends(found.values())
    for axes, place in zip(every, drawn, strict=True):
        points = run.at_place(found, place)
        beside = _side_by_side(points, (high / low) ** _APART)
        for method, flops in sorted(beside.items(), key=lambda item: item[0] in run.curves):
            _point(axes, run, method, flops, points[method][1])
        flops_scale(axes, low, high)
        axes.set_title(run.title(place, 28), loc="left")
    looks = run.looks(methods)
    lines = {run.name(item.method) for item, (flops, _) in found.items() if not flops}
    style.legend(figure, looks, points=looks.keys() - lines)


def _side_by_side(points: Mapping[str, Point], apart: float) -> dict[str, float]:
    """Return the FLOPs to draw points at: points of equal FLOPs are moved a factor `apart`."""
    groups: list[list[str]] = []
    for method in sorted(points, key=lambda method: points[method][0]):
        if groups and points[method][0] <= _SAME * points[groups[-1][0]][0]:
            groups[-1].append(method)
        else:
            groups.append([method])
    return {
        method: points[method][0] * apart ** (place - (len(group) - 1) / 2)
        for group in groups
        for place, method in enumerate(group)
    }


def _ends(found: Iterable[Point]) -> tuple[float, float]:
    """Return the ends of the FLOPs axis."""
    spent = [flops for flops, _ in found if flops]
    low, high = min(spent), max(spent)
    margin = max(_MARGIN, math.sqrt(_LEAST * low / high))
    return low / margin, high * margin


def _point(axes: "Axes", run: DrawnRun, method: str, flops: float, rate: Number) -> None:
    look = run.look(method)
    if flops:
        bar = style.error_bars([rate])
        axes.errorbar([flops], [rate.value], yerr=bar, elinewidth=0.8, **look.point)
        return
    axes.axhline(rate.value, color=look.colour, linestyle=look.dash, linewidth=0.9)
    if rate.low is not None and rate.high is not None:
        axes.axhspan(rate.low, rate.high, color=look.colour, alpha=0.12, linewidth=0)
