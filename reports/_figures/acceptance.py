"""Acceptance by method and task: a dot with its interval for each temperature."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from draftmark.reports._figures.drawing import NUMBER, WHO, Drawing, NotDrawn, number, spread, who
from draftmark.reports._figures.run import Place, Run, drawn_of
from draftmark.reports._figures.style import COLOURS, MARKERS, PAGE, in_rows, label, panels
from draftmark.results import Contender

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS, _MOST_PANELS = 5, 15
_LINE_INCHES, _FRAME_INCHES = 0.22, 0.75


def figures(run: Run) -> Iterator[Drawing | NotDrawn]:
    """Yield the figure."""
    name = "acceptance"
    rows = [
        (*who(item), temperature, *number(found))
        for item, numbers in run.numbers.items()
        for temperature in run.temperatures
        if (found := numbers.get(run.key("acceptance_rate", temperature)))
    ]
    if not rows:
        yield NotDrawn(name, "no cell has an acceptance rate")
        return
    methods, drawn, left = drawn_of(run, run.numbers, _MOST_PANELS)
    height = len(in_rows(len(drawn), _COLUMNS)) * (
        _LINE_INCHES * max(2, len(methods)) + _FRAME_INCHES
    )
    yield Drawing(
        name,
        f"Acceptance rate (accepted / tested drafted tokens) by method and task, blocks of "
        f"{run.gamma} drafted tokens; bars are 95 % intervals over prompts, and seeds where there "
        "are several.",
        (PAGE, height),
        (*WHO, "temperature", *NUMBER),
        rows,
        lambda figure: _fill(figure, run, methods, drawn),
        left,
    )


def _fill(figure: "Figure", run: Run, methods: Sequence[str], drawn: Sequence[Place]) -> None:
    every = panels(figure, in_rows(len(drawn), _COLUMNS))
    for index, (axes, place) in enumerate(zip(every, drawn, strict=True)):
        axes.sharex(every[0])
        _panel(axes, run, methods, place)
        names = [label(method) for method in methods] if index % _COLUMNS == 0 else []
        axes.set_yticks(range(len(methods)), names or [""] * len(methods))
    figure.supxlabel("acceptance rate", fontsize=8)
    if len(run.temperatures) > 1:
        handles, names = every[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=len(names))


def _panel(axes: "Axes", run: Run, methods: Sequence[str], place: Place) -> None:
    several = len(run.temperatures)
    for index, temperature in enumerate(run.temperatures):
        found = [
            (line, run.numbers[mine][run.key("acceptance_rate", temperature)])
            for line, method in enumerate(methods)
            if (mine := Contender(*place, method)) in run.numbers
            and run.key("acceptance_rate", temperature) in run.numbers[mine]
        ]
        shift = 0.36 * (index - (several - 1) / 2) if several > 1 else 0.0
        axes.errorbar(
            [each.value for _, each in found],
            [line + shift for line, _ in found],
            xerr=spread([each for _, each in found]),
            fmt=MARKERS[index % len(MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            markerfacecolor=COLOURS[index % len(COLOURS)] if index % 2 == 0 else "white",
            elinewidth=1.0,
            label=f"temperature {temperature:g}",
        )
    _say_what_failed(axes, run, methods, place)
    axes.set_title(run.title(place, 24), loc="left")
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _say_what_failed(axes: "Axes", run: Run, methods: Sequence[str], place: Place) -> None:
    """Write beside a method that it failed here, or that nothing was measured."""
    there = {row.cell.contender for row in run.results.results}
    for line, method in enumerate(methods):
        mine = Contender(*place, method)
        if mine not in run.numbers:
            text = "failed" if mine in there else "not run"
            axes.text(
                0.03, line, text, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5
            )
