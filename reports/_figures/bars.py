"""The bar chart of measured speedup by task, a bar for each method."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from draftmark.reports._figures import style
from draftmark.reports._figures.drawing import Drawing, NotDrawn
from draftmark.reports._figures.run import DrawnRun, Place, choose_places, reason_to_skip
from draftmark.reports._shared.rows import conditions_of, engine_in_words
from draftmark.results import Contender, Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_PLACES, _INCHES, _NARROW = 8, 1.9, 9  # panels; height; bars that fit in a column
_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----")  # distinct in grey


def draw_speedups(run: DrawnRun) -> Drawing | NotDrawn:
    """Return the bar chart of the leaderboard's speedups."""
    name = "speedup"
    found = {item: own["speedup"] for item, own in run.numbers.items() if "speedup" in own}
    if not found:
        return NotDrawn(name, "no speed was run")
    if reason := reason_to_skip(list(found.items())):
        return NotDrawn(name, reason)
    places, left = choose_places(found, _MOST_PLACES)
    by_place = {place: run.at_place(found, place) for place in places}
    methods = run.named(name for own in by_place.values() for name in own)
    if not methods:
        return NotDrawn(name, "no draft with a speedup learned anything")
    width = run.paper.column if len(methods) * len(places) <= _NARROW else run.paper.page
    return Drawing(
        name,
        f"Measured speedup over the target alone, by task{_condition(run)}; methods in order of "
        "block efficiency. Black lines are 95% intervals over blocks.",
        (width, _INCHES + style.legend_inches(list(map(run.name, methods)), width)),
        (Contender, Number),
        list(found.items()),
        lambda figure: _fill(figure, run, methods, by_place),
        run.notes(_in_data_alone(run, methods, found), left),
    )


def _in_data_alone(run: DrawnRun, drawn: Sequence[str], found: Iterable[Contender]) -> str:
    """Return a sentence on the methods with a speedup that have no bar; "" without any."""
    others = {item.method for item in found if item not in run.unmoved} - set(drawn)
    names = [style.font_label(run.name(name)) for name in run.methods if name in others]
    return f"In the data alone: {'; '.join(names)}." if names else ""


def _condition(run: DrawnRun) -> str:
    """Return where the speedups were measured, as the end of a sentence; "" if it is unknown."""
    labels = {
        key.removeprefix("speedup[").removesuffix("]")
        for own in run.numbers.values()
        for key, number in own.items()
        if key.startswith("speedup[") and number == own.get("speedup")
    }
    if len(labels) != 1:
        return ""
    terms = conditions_of(labels.pop())
    if not {"engine", "batch", "t", "gamma"} <= terms.keys():
        return ""
    shown = f"{engine_in_words(terms)}, batch {terms['batch']}, temperature {terms['t']}"
    return f" ({shown}, blocks of {terms['gamma']} drafted tokens)"


def _fill(
    figure: "Figure",
    run: DrawnRun,
    methods: Sequence[str],
    by_place: Mapping[Place, Mapping[str, Number]],
) -> None:
    axes = figure.subplots()
    numbers = [number for own in by_place.values() for number in own.values()]
    style.scale_ratios(axes, "y", [number.value for number in numbers])
    width = 0.8 / len(methods)
    for index, method in enumerate(methods):
        bars = {p: own[method] for p, own in enumerate(by_place.values()) if method in own}
        shift = width * (index - (len(methods) - 1) / 2)
        _bars(axes, {place + shift: number for place, number in bars.items()}, width, index)
    axes.axhline(1.0, **style.REFERENCE)
    axes.set_xticks(range(len(by_place)), [run.title(place, 24) for place in by_place])
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("speedup (times)")
    _legend(figure, list(map(run.name, methods)))


def _legend(figure: "Figure", names: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    figure.legend(
        [Patch(**_look(index)) for index in range(len(names))],
        [style.font_label(name) for name in names],
        loc="outside lower center",
        ncols=style.legend_columns(names, figure.get_figwidth()),
    )


def _look(index: int) -> dict[str, Any]:
    colour, hatch = style.COLOURS[index], _HATCHES[index]
    return {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}


def _bars(axes: "Axes", bars: Mapping[float, Number], width: float, index: int) -> None:
    """Draw the bars of a method, from 0, or from 1 on a logarithmic axis."""
    start = 1.0 if axes.get_yscale() == "log" else 0.0
    values = [number.value for number in bars.values()]
    heights = [value - start for value in values]
    axes.bar(list(bars), heights, 0.92 * width, start, **_look(index))
    whiskers = style.error_bars(list(bars.values()))
    axes.errorbar(list(bars), values, whiskers, fmt="none", ecolor="#000000", elinewidth=0.8)
