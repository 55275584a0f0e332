"""The forest plot: paired differences of acceptance from the first method's."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.published import Comparison
from reports._figures.drawing import NUMBER, WHO, Drawing, NotDrawn, number, spread, who
from reports._figures.run import Run, first, places
from reports._figures.style import COLOURS, GREY, PAGE, label

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
    against = found[0].against
    lines, left = first(_lines(found), _MOST_LINES, "lines")
    yield Drawing(
        NAME,
        f"Acceptance rate less that of {label(against)}, paired on prompts, and on seeds where "
        f"both have the same; blocks of {run.gamma} drafted tokens. Bars are 95 % intervals, each "
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


_Line = tuple[str, str, str | None]  # task, pair and method; None for the heading of the first two


def _lines(found: Sequence[Comparison]) -> list[_Line]:
    contenders = list(dict.fromkeys(item.contender for item in found))
    return [
        (*place, method)
        for place in places(contenders)
        for method in (None, *(who.method for who in contenders if (who.task, who.pair) == place))
    ]


def _fill(figure: "Figure", run: Run, found: Sequence[Comparison], lines: Sequence[_Line]) -> None:
    grid = figure.subplots(1, len(run.temperatures), squeeze=False, sharex=True, sharey=True)[0]
    for axes, temperature in zip(grid, run.temperatures, strict=True):
        quantity = run.key("acceptance_rate", temperature)
        mine = [item for item in found if item.quantity == quantity]
        _panel(axes, mine, lines)
        axes.set_title(f"temperature {temperature:g}", loc="left")
    names = [
        run.title((task, pair)) if method is None else label(method) for task, pair, method in lines
    ]
    grid[0].set_yticks(range(len(lines)), names)
    for tick, (_, _, method) in zip(grid[0].get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if method else "bold")
    grid[0].set_ylim(len(lines) - 0.3, -0.7)
    figure.supxlabel(f"acceptance rate less that of {label(found[0].against)}", fontsize=8)


def _panel(axes: "Axes", found: Sequence[Comparison], lines: Sequence[_Line]) -> None:
    axes.axvline(0, color=GREY, linewidth=0.8)
    places_of = {line: place for place, line in enumerate(lines)}
    for item in found:
        line = places_of.get(who(item.contender))
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
