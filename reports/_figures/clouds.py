"""Panels of points with two intervals each: what two quantities trade for each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from draftmark.reports._figures import grids
from draftmark.reports._figures.drawing import spread
from draftmark.reports._figures.run import Run
from draftmark.reports._figures.style import COLUMN, PAGE, named_panels
from draftmark.results import Number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, MOST_PANELS = 3, 9
_ROW_INCHES = 2.0
TARGET = "target alone"
Points = Sequence[tuple[Number, Number]]


@dataclass(frozen=True)
class Cloud:
    """A panel: the points of each method, joined in their order, and those of the target alone."""

    title: str
    points: Mapping[str, Points]
    target: Points
    marks: Sequence[str] = ()  # what is written beside the target's points


def inches(clouds: int, methods: Sequence[str]) -> tuple[float, float]:
    """Return the size of a picture of so many panels."""
    width = COLUMN if clouds == 1 else PAGE
    rows = -(-clouds // COLUMNS)
    return width, rows * _ROW_INCHES + grids.height(0, [*methods, TARGET], width)


def fill(figure: "Figure", run: Run, clouds: Sequence[Cloud], across: str, up: str) -> None:
    """Draw the panels."""
    every = named_panels(figure, len(clouds), COLUMNS, across, up)
    for axes, cloud in zip(every, clouds, strict=True):
        looks = {method: run.look(method).line for method in cloud.points}
        for points, look in [
            *((cloud.points[method], look) for method, look in looks.items()),
            (cloud.target, grids.OF_TARGET),
        ]:
            x, y = [one for one, _ in points], [other for _, other in points]
            axes.errorbar(
                [each.value for each in x],
                [each.value for each in y],
                xerr=spread(x),
                yerr=spread(y),
                elinewidth=0.7,
                **look,
            )
        for mark, (one, other) in zip(cloud.marks, cloud.target, strict=False):
            at = (one.value, other.value)
            axes.annotate(mark, at, (4, 4), textcoords="offset points", fontsize=7)
        axes.set_title(cloud.title, loc="left")
    methods = list(dict.fromkeys(method for cloud in clouds for method in cloud.points))
    alone = any(cloud.target for cloud in clouds)
    single = [name for name in methods if all(len(it.points.get(name, ())) < 2 for it in clouds)]
    grids.legend(figure, run, methods, target=TARGET if alone else None, points=single)
