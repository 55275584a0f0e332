"""The forest plot: paired differences of acceptance from the methods that each is compared with."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from draftmark.reports._figures.drawing import NUMBER, WHO, Drawing, NotDrawn, number, spread, who
from draftmark.reports._figures.run import Run, first, places
from draftmark.reports._figures.style import COLOURS, GREY, PAGE, label
from draftmark.results import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME, LEVEL = "differences", 0.05
_MOST_LINES = 48
_LINE_INCHES, _FRAME_INCHES = 0.165, 0.75


def figures(run: Run) -> Iterator[Drawing | NotDrawn]:
    """Yield the figure."""
    wanted = {
        run.key("acceptance_rate", temperature): temperature for temperature in run.temperatures
    }
    found = [item for item in run.results.comparisons if item.quantity in wanted]
    if not found:
        yield NotDrawn(NAME, "a run of one method compares nothing")
        return
    lines, left = first(_lines(found), _MOST_LINES, "lines")
    yield Drawing(
        NAME,
        f"Acceptance rate less {_whose(found)}, paired on prompts, and on seeds where both "
        f"have the same; blocks of {run.gamma} drafted tokens. Bars are 95 % intervals, each "
        f"by itself; filled: significant at {LEVEL:.0%} after Holm over all comparisons of the "
        "run.",
        (PAGE, _LINE_INCHES * len(lines) + _FRAME_INCHES),
        (*WHO, "against", "quantity", *NUMBER, "p_value", "adjusted_p", "detectable"),
        [
            (
                *who(item.contender),
                item.against,
                item.quantity,
                *number(item.difference),
                *(item.p_value, item.adjusted_p, item.detectable),
            )
            for item in run.results.comparisons
        ],
        lambda figure: _fill(figure, run, found, lines),
        left,
    )


# Task, pair, and a method with whom it is compared; None for the heading of the first two.
_Line = tuple[str, str, tuple[str, str] | None]


def _lines(found: Sequence[Comparison]) -> list[_Line]:
    compared = list(dict.fromkeys(map(_line, found)))
    return [
        line
        for place in places([item.contender for item in found])
        for line in ((*place, None), *(line for line in compared if line[:2] == place))
    ]


def _line(item: Comparison) -> _Line:
    return item.contender.task, item.contender.pair, (item.contender.method, item.against)


def _words(line: _Line, run: Run, found: Sequence[Comparison]) -> str:
    """Return what a line is called; whom its method is compared with if not all with the same."""
    task, pair, compared = line
    if compared is None:
        return run.title((task, pair))
    mine, other = map(label, compared)
    return mine if _common(found) else f"{mine} \N{MINUS SIGN} {other}"


def _common(found: Sequence[Comparison]) -> str | None:
    """Return the one method that all are compared with, if it is one."""
    others = {item.against for item in found}
    return others.pop() if len(others) == 1 else None


def _whose(found: Sequence[Comparison]) -> str:
    common = _common(found)
    return f"that of {label(common)}" if common else "that of the method after the minus sign"


def _fill(figure: "Figure", run: Run, found: Sequence[Comparison], lines: Sequence[_Line]) -> None:
    grid = figure.subplots(1, len(run.temperatures), squeeze=False, sharex=True, sharey=True)[0]
    for axes, temperature in zip(grid, run.temperatures, strict=True):
        quantity = run.key("acceptance_rate", temperature)
        mine = [item for item in found if item.quantity == quantity]
        _panel(axes, mine, lines)
        axes.set_title(f"temperature {temperature:g}", loc="left")
    names = [_words(line, run, found) for line in lines]
    grid[0].set_yticks(range(len(lines)), names)
    for tick, (_, _, compared) in zip(grid[0].get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if compared else "bold")
    grid[0].set_ylim(len(lines) - 0.3, -0.7)
    figure.supxlabel(f"acceptance rate less {_whose(found)}", fontsize=8)


def _panel(axes: "Axes", found: Sequence[Comparison], lines: Sequence[_Line]) -> None:
    axes.axvline(0, color=GREY, linewidth=0.8)
    places_of = {line: place for place, line in enumerate(lines)}
    for item in found:
        line = places_of.get(_line(item))
        if line is not None:
            significant = item.adjusted_p < LEVEL
            axes.errorbar(
                [item.difference.value],
                [line],
                xerr=spread([item.difference]),
                fmt="o",
                color=COLOURS[0],
                markerfacecolor=COLOURS[0] if significant else "white",
                elinewidth=1.0,
            )
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
