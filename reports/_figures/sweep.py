"""The figure of sweeps: block efficiency over the knob that a method's entry gave as a list."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from draftmark.reports._figures import style
from draftmark.reports._figures.drawing import Drawing, NotDrawn, Value
from draftmark.reports._figures.run import DrawnRun, Place, first_few, places_of
from draftmark.results import Contender, Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_INCHES, _MOST_ROWS = 1.9, 4


@dataclass(frozen=True)
class Sweep:
    """The entries of a recipe that differ in one knob."""

    title: str  # of the swept entry
    knob: str
    values: Mapping[str, Any]  # by the title of each entry


def sweeps_of(methods: Sequence[Mapping[str, Any]]) -> list[Sweep]:
    """Return the sweeps among the method entries of a stored recipe."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in methods:
        if knob := entry.get("sweep"):
            title = entry["label"].rpartition(f", {knob} ")[0]
            found.setdefault((title, knob), {})[entry["label"]] = entry[knob]
    return [Sweep(title, knob, values) for (title, knob), values in found.items()]


def draw_sweeps(run: DrawnRun) -> Iterator[Drawing | NotDrawn]:
    """Yield the figure of each temperature; none if the recipe has no sweep."""
    if sweeps := sweeps_of(run.results.recipe["methods"]):
        yield from (_draw(run, sweeps, temperature) for temperature in run.temperatures)


def _draw(run: DrawnRun, sweeps: Sequence[Sweep], temperature: float) -> Drawing | NotDrawn:
    """Return the figure of block efficiency over each swept knob: a row for each task and pair."""
    name = f"sweep-t{temperature:g}"
    key = run.key("block_efficiency", temperature)
    rows = [row for sweep in sweeps for row in _rows(run, sweep, key)]
    if not rows:
        return NotDrawn(name, "no entry of a sweep has numbers")
    places, left = first_few(places_of(row[0] for row in rows), _MOST_ROWS, "tasks")
    return Drawing(
        name,
        f"Block efficiency at temperature {temperature:g} over the knob of each sweep, with 95% "
        "intervals over prompts.",
        (run.paper.page, len(places) * _ROW_INCHES + 0.35),
        (Contender, "knob", "setting", Number),
        [(contender, knob, _text(value), number) for contender, knob, value, number in rows],
        lambda figure: _fill(figure, run, sweeps, places, key),
        left,
    )


def _rows(run: DrawnRun, sweep: Sweep, key: str) -> Iterator[tuple[Contender, str, Any, Number]]:
    for contender, numbers in run.numbers.items():
        if contender.method in sweep.values and key in numbers:
            yield contender, sweep.knob, sweep.values[contender.method], numbers[key]


def _text(value: Any) -> Value:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _fill(
    figure: "Figure", run: DrawnRun, sweeps: Sequence[Sweep], places: Sequence[Place], key: str
) -> None:
    grid = figure.subplots(len(places), len(sweeps), squeeze=False)
    for line, place in zip(grid, places, strict=True):
        for axes, sweep in zip(line, sweeps, strict=True):
            points = [
                (value, number)
                for contender, _, value, number in _rows(run, sweep, key)
                if (contender.task, contender.pair) == place
            ]
            axes.set_title(run.title(place), loc="left")
            _panel(axes, points)
            axes.set_xlabel(style.font_label(f"{sweep.knob} of {sweep.title}"))
        line[0].set_ylabel("block efficiency")


def _panel(axes: "Axes", points: Sequence[tuple[Any, Number]]) -> None:
    """Draw points with intervals: at their values if all are numbers, else side by side."""
    values = [_text(value) for value, _ in points]
    numeric = not any(isinstance(value, str) for value in values)
    across: Any = values if numeric else range(len(points))
    numbers = [number for _, number in points]
    axes.errorbar(
        across,
        [number.value for number in numbers],
        yerr=style.error_bars(numbers),
        fmt="o-",
        color=style.COLOURS[0],
    )
    if not numeric:
        axes.set_xticks(range(len(points)), [style.font_label(str(value)) for value in values])
