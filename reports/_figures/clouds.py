"""Panels of points with intervals on both axes: quality by speed, fidelity by diversity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from draftmark.reports._figures import style
from draftmark.reports._figures.drawing import Drawing, NotDrawn
from draftmark.reports._figures.run import DrawnRun, Numbers, choose_places
from draftmark.results import Contender, Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS, _MOST_PANELS = 3, 9
_ROW_INCHES = 2.0
_TARGET = "target alone"
_ONE = Number(1.0, None, None, 0, "the target alone")
Points = Sequence[tuple[Number, Number]]  # (across, up)


@dataclass(frozen=True)
class Cloud:
    """A panel: the points of each method, joined in order, and the points of the target alone."""

    title: str
    points: Mapping[str, Points]
    target: Points
    marks: Sequence[str] = ()  # text beside the target's points


def draw_quality(run: DrawnRun) -> Drawing | NotDrawn:
    """Return the figure of the task's score with a draft, by measured speedup."""
    name = "quality-against-speed"
    needed = {"speedup", "quality_with_draft"}
    found = {item: numbers for item, numbers in run.numbers.items() if needed <= numbers.keys()}
    if not found:
        return NotDrawn(name, "no speed was run")
    if all(_same_score(own) for own in found.values()):
        return NotDrawn(name, "with every draft the score is the target's")
    drawn, left = choose_places(found, _MOST_PANELS)
    clouds = []
    for place in drawn:
        here = run.at_place(found, place)
        points = {m: [(own["speedup"], own["quality_with_draft"])] for m, own in here.items()}
        key = "quality_target_there"
        target = [(_ONE, own[key]) for own in here.values() if key in own]
        clouds.append(Cloud(run.title(place, 28), points, target[:1]))
    return Drawing(
        name,
        "The task's score of the text decoded with the draft, by measured speedup; the star is the "
        "target alone on the same prompts. With lossless verification all points are at the star's "
        "height. Bars are 95% intervals.",
        _inches(run, clouds),
        (Contender, "quantity", Number),
        [
            (item, quantity, own[quantity])
            for item, own in found.items()
            for quantity in ("speedup", "quality_with_draft", "quality_target_there")
            if quantity in own
        ],
        lambda figure: _fill(figure, run, clouds, "measured speedup (times)", "score", ratios=True),
        run.notes(run.grey_note(_methods(clouds)), left),
    )


def _same_score(numbers: Numbers) -> bool:
    target = numbers.get("quality_target_there")
    return target is not None and target.value == numbers["quality_with_draft"].value


def draw_diversity(run: DrawnRun) -> Drawing | NotDrawn:
    """Return the figure of fidelity against diversity, a line over temperatures for each draft.

    The figure follows CSD (Kim et al. 2025, arXiv 2509.25837): up and to the right is better.
    """
    name = "fidelity-against-diversity"
    samples = run.results.recipe["evaluation"].get("samples") or {"temperatures": ()}
    temperatures = samples["temperatures"]
    found = {item: own for item, own in run.numbers.items() if _sampled(own, "draft", temperatures)}
    if not found:
        why = "no draft has samples" if temperatures else "the recipe asks for no samples"
        return NotDrawn(name, f"{why} ([evaluation.samples])")
    drawn, left = choose_places(found, _MOST_PANELS)
    clouds = []
    for place in drawn:
        here = run.at_place(found, place)
        points = {method: _sampled(own, "draft", temperatures) for method, own in here.items()}
        target = [_sampled(own, "target", temperatures) for own in here.values()]
        marks = [f"T = {temperature:g}" for temperature in temperatures]
        clouds.append(Cloud(run.title(place, 28), points, target[0] if target else [], marks))
    return Drawing(
        name,
        "Fidelity (mean score) against diversity (distinct-2: distinct pairs of words / pairs) of "
        f"{samples['count']} sampled responses per prompt, from drafts alone and from the target; "
        "a point for each temperature, which is written beside the target's point. Bars are 95% "
        "intervals.",
        _inches(run, clouds),
        (Contender, "whose", "temperature", "quantity", Number),
        [
            (item, whose, temperature, quantity, own[key])
            for item, own in found.items()
            for whose in ("draft", "target")
            for temperature in temperatures
            for quantity in ("fidelity", "distinct_1", "distinct_2", "self_bleu")
            if (key := f"{quantity}_{whose}[t={temperature:g}]") in own
        ],
        lambda figure: _fill(figure, run, clouds, "diversity, distinct-2", "fidelity"),
        run.notes(run.grey_note(_methods(clouds)), left),
    )


def _sampled(numbers: Numbers, whose: str, temperatures: Sequence[float]) -> Points:
    keys = [(f"distinct_2_{whose}[t={t:g}]", f"fidelity_{whose}[t={t:g}]") for t in temperatures]
    return [(numbers[across], numbers[up]) for across, up in keys if {across, up} <= numbers.keys()]


def _inches(run: DrawnRun, clouds: Sequence[Cloud]) -> tuple[float, float]:
    width = run.paper.column if len(clouds) == 1 else run.paper.page
    rows = len(style.in_rows(len(clouds), _COLUMNS))
    names = [*run.looks(_methods(clouds)), _TARGET]
    return width, rows * _ROW_INCHES + style.legend_inches(names, width)


def _methods(clouds: Sequence[Cloud]) -> list[str]:
    return list(dict.fromkeys(method for cloud in clouds for method in cloud.points))


def _fill(
    figure: "Figure",
    run: DrawnRun,
    clouds: Sequence[Cloud],
    across: str,
    up: str,
    *,
    ratios: bool = False,
) -> None:
    every = style.named_panels(figure, len(clouds), _COLUMNS, across, up)
    for axes, cloud in zip(every, clouds, strict=True):
        _panel(axes, run, cloud)
        if ratios:
            shown = [x.value for points in cloud.points.values() for x, _ in points]
            style.scale_ratios(axes, "x", [1.0, *shown])
    looks = run.looks(_methods(clouds))
    joined = any(len(points) > 1 for cloud in clouds for points in cloud.points.values())
    target = _TARGET if any(cloud.target for cloud in clouds) else None
    style.legend(figure, looks, target=target, points=() if joined else looks)


def _panel(axes: "Axes", run: DrawnRun, cloud: Cloud) -> None:
    for method in sorted(cloud.points, key=lambda method: method in run.curves):  # grey ones below
        _points(axes, cloud.points[method], run.look(method).line)
    _points(axes, cloud.target, style.TARGET)
    for mark, numbers in zip(cloud.marks, cloud.target, strict=False):
        at = (numbers[0].value, numbers[1].value)
        axes.annotate(mark, at, (4, 4), textcoords="offset points", fontsize="small")
    axes.set_title(cloud.title, loc="left")


def _points(axes: "Axes", points: Points, look: Mapping[str, Any]) -> None:
    x, y = [number for number, _ in points], [number for _, number in points]
    axes.errorbar(
        [each.value for each in x],
        [each.value for each in y],
        xerr=style.error_bars(x),
        yerr=style.error_bars(y),
        elinewidth=0.7,
        **look,
    )
