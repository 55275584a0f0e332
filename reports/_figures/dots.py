"""Dots with intervals, a line for each method: acceptance rates and paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from draftmark.reports._figures import style
from draftmark.reports._figures.drawing import Drawing, NotDrawn
from draftmark.reports._figures.run import (
    MOST_METHODS,
    DrawnRun,
    Place,
    choose_places,
    first_few,
    places_of,
    reason_to_skip,
)
from draftmark.reports._shared.rows import group_by
from draftmark.results import Comparison, Contender, Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVEL = 0.05  # significance level
_MOST_COLUMNS, _MOST_PANELS, _MOST_LINES = 5, 15, 48
_LONGEST_TITLE, _LETTER_WIDTH = 24, 0.0075  # characters; inches of a letter per point of its size
_METHOD_INCHES, _LINE_INCHES, _FRAME_INCHES = 0.22, 0.165, 0.75
# (task, pair, (method, method compared with)); None in place of the methods for a heading.
_Line = tuple[str, str, tuple[str, str] | None]


def draw_acceptance(run: DrawnRun) -> Drawing | NotDrawn:
    """Return the figure of acceptance rates by method, a panel for each task and pair."""
    name = "acceptance"
    rows = [
        (item, temperature, numbers[key])
        for item, numbers in run.numbers.items()
        for temperature in run.temperatures
        if (key := run.key("acceptance_rate", temperature)) in numbers
    ]
    if not rows:
        return NotDrawn(name, "no cell has an acceptance rate")
    if reason := reason_to_skip([(item, number) for item, _, number in rows]):
        return NotDrawn(name, reason)
    drawn, fewer_places = choose_places(run.numbers, _MOST_PANELS)
    methods, fewer_methods = first_few(_methods(run), MOST_METHODS, "methods")
    columns = _columns(run, methods, drawn)
    row_inches = _METHOD_INCHES * max(2, len(methods)) + _FRAME_INCHES
    return Drawing(
        name,
        f"Acceptance rate (accepted / tested drafted tokens) by method and task, blocks of "
        f"{run.gamma} drafted tokens; bars are 95% intervals over prompts, and over seeds if "
        "there are several.",
        (run.paper.page, len(style.in_rows(len(drawn), columns)) * row_inches),
        (Contender, "temperature", Number),
        rows,
        lambda figure: _fill_acceptance(figure, run, methods, drawn, columns),
        run.notes(fewer_methods, fewer_places),
    )


def _columns(run: DrawnRun, methods: Sequence[str], drawn: Sequence[Place]) -> int:
    """Return how many panels stand side by side so that their titles do not meet."""
    letter = run.paper.size * _LETTER_WIDTH
    names = max(len(style.font_label(run.name(method))) for method in methods) * letter
    title = max(len(run.title(place, _LONGEST_TITLE)) for place in drawn) * letter + 0.1
    return max(1, min(_MOST_COLUMNS, int((run.paper.page - names) / title)))


def _fill_acceptance(
    figure: "Figure",
    run: DrawnRun,
    methods: Sequence[str],
    drawn: Sequence[Place],
    columns: int,
) -> None:
    every = style.add_panels(figure, style.in_rows(len(drawn), columns))
    for index, (axes, place) in enumerate(zip(every, drawn, strict=True)):
        axes.sharex(every[0])
        _acceptance_panel(axes, run, methods, place)
        names = (
            [style.font_label(run.name(method)) for method in methods]
            if index % columns == 0
            else []
        )
        axes.set_yticks(range(len(methods)), names or [""] * len(methods))
    figure.supxlabel("acceptance rate")
    if len(run.temperatures) > 1:
        handles, names = every[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=len(names))


def _methods(run: DrawnRun) -> list[str]:
    """Return the methods by acceptance rate, then those without numbers."""
    unmoved = {item.method for item in run.unmoved}
    without = [row.cell.method for row in run.results.results if row.cell.method not in unmoved]
    return list(dict.fromkeys([*run.ranked("acceptance_rate"), *without]))


def _acceptance_panel(axes: "Axes", run: DrawnRun, methods: Sequence[str], place: Place) -> None:
    by_method = run.at_place(run.numbers, place)
    for index, temperature in enumerate(run.temperatures):
        key = run.key("acceptance_rate", temperature)
        own = [(line, by_method.get(method, {})) for line, method in enumerate(methods)]
        found = {line: numbers[key] for line, numbers in own if key in numbers}
        _dots(axes, found, index, len(run.temperatures))
        axes.lines[-1].set_label(f"temperature {temperature:g}")
    for line, method in enumerate(methods):
        if method not in by_method:
            at: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
            axes.text(0.03, line, _absence(run, Contender(*place, method)), fontsize="small", **at)
    axes.set_title(run.title(place, _LONGEST_TITLE), loc="left")
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _dots(axes: "Axes", found: Mapping[int, Number], index: int, count: int) -> None:
    """Draw numbers by line, for temperature `index` of `count`."""
    shift = 0.36 * (index - (count - 1) / 2) if count > 1 else 0.0
    colour = style.COLOURS[index % len(style.COLOURS)]
    axes.errorbar(
        [each.value for each in found.values()],
        [line + shift for line in found],
        xerr=style.error_bars(list(found.values())),
        fmt=style.MARKERS[index % len(style.MARKERS)],
        color=colour,
        markerfacecolor=colour if index % 2 == 0 else "white",
        elinewidth=1.0,
    )


def _absence(run: DrawnRun, contender: Contender) -> str:
    if contender in run.unmoved:
        return "did not learn"
    started = {row.cell.contender for row in run.results.results}
    return "failed" if contender in started else "not run"


def draw_differences(run: DrawnRun) -> Drawing | NotDrawn:
    """Return the forest plot of the recipe's comparisons of acceptance rates."""
    name = "differences"
    wanted = {run.key("acceptance_rate", temperature) for temperature in run.temperatures}
    every = [item for item in run.results.comparisons if item.quantity in wanted]
    found = [item for item in every if not _is_unmoved(item, run)]
    if not found:
        return NotDrawn(name, "a run of one method compares nothing")
    if all(item.difference.value == 0 for item in found):
        return NotDrawn(name, "all differences are 0")
    lines, left = first_few(_lines(found), _MOST_LINES, "lines")
    return Drawing(
        name,
        f"Acceptance rate minus {_baseline(run, found)}, paired on prompts, and on seeds if both "
        f"methods have the same; blocks of {run.gamma} drafted tokens. Bars are single 95% "
        f"intervals; filled dots are significant at {LEVEL:.0%} after Holm over all comparisons of "
        "the run.",
        (run.paper.page, _LINE_INCHES * len(lines) + _FRAME_INCHES),
        (Contender, "against", "quantity", Number, "p_value", "adjusted_p", "detectable"),
        [
            (
                *(item.contender, item.against, item.quantity, item.difference),
                *(item.p_value, item.adjusted_p, item.detectable),
            )
            for item in run.results.comparisons
        ],
        lambda figure: _fill_differences(figure, run, found, lines),
        run.notes(left),
    )


def _is_unmoved(item: Comparison, run: DrawnRun) -> bool:
    """True if one of two compared drafts is its draft init still."""
    return bool({item.contender, replace(item.contender, method=item.against)} & set(run.unmoved))


def _lines(found: Sequence[Comparison]) -> list[_Line]:
    """Return a heading for each task and pair, and its comparisons, the largest first."""
    by_line = group_by(found, _line)
    sizes = {line: fmean(item.difference.value for item in same) for line, same in by_line.items()}
    compared = sorted(sizes, key=lambda line: -sizes[line])
    return [
        line
        for place in places_of(item.contender for item in found)
        for line in ((*place, None), *(line for line in compared if line[:2] == place))
    ]


def _line(item: Comparison) -> _Line:
    return item.contender.task, item.contender.pair, (item.contender.method, item.against)


def _line_name(line: _Line, run: DrawnRun, found: Sequence[Comparison]) -> str:
    """Return a line's name: the method, with its baseline if the baselines differ."""
    task, pair, compared = line
    if compared is None:
        return run.title((task, pair))
    method, baseline = (style.font_label(run.name(each)) for each in compared)
    same = len({item.against for item in found}) == 1
    return method if same else f"{method} \N{MINUS SIGN} {baseline}"


def _baseline(run: DrawnRun, found: Sequence[Comparison]) -> str:
    only, *others = {item.against for item in found}
    return (
        "that of the method after the minus sign"
        if others
        else f"that of {style.font_label(run.name(only))}"
    )


def _fill_differences(
    figure: "Figure", run: DrawnRun, found: Sequence[Comparison], lines: Sequence[_Line]
) -> None:
    grid = figure.subplots(1, len(run.temperatures), squeeze=False, sharex=True, sharey=True)[0]
    for axes, temperature in zip(grid, run.temperatures, strict=True):
        quantity = run.key("acceptance_rate", temperature)
        _difference_panel(axes, [item for item in found if item.quantity == quantity], lines)
        axes.set_title(f"temperature {temperature:g}", loc="left")
    names = [_line_name(line, run, found) for line in lines]
    grid[0].set_yticks(range(len(lines)), names)
    for tick, (_, _, compared) in zip(grid[0].get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if compared else "bold")
    grid[0].set_ylim(len(lines) - 0.3, -0.7)
    figure.supxlabel(f"acceptance rate minus {_baseline(run, found)}")


def _difference_panel(axes: "Axes", found: Sequence[Comparison], lines: Sequence[_Line]) -> None:
    axes.axvline(0, color=style.GREY, linewidth=0.8)
    places = {line: place for place, line in enumerate(lines)}
    for item in found:
        if (line := places.get(_line(item))) is not None:
            axes.errorbar(
                [item.difference.value],
                [line],
                xerr=style.error_bars([item.difference]),
                fmt="o",
                color=style.COLOURS[0],
                markerfacecolor=style.COLOURS[0] if item.adjusted_p < LEVEL else "white",
                elinewidth=1.0,
            )
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
