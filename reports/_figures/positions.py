"""Marginal and conditional acceptance by position in a block."""

from collections.abc import Iterator, Mapping

from draftmark.reports._figures import grids
from draftmark.reports._figures.drawing import NUMBER, WHO, Drawing, NotDrawn, Numbers, number, who
from draftmark.reports._figures.grids import Panel
from draftmark.reports._figures.run import Place, Run, drawn_of
from draftmark.reports._figures.style import PAGE
from draftmark.results import Contender, Number

_WHICH = ("marginal", "conditional")
ByPosition = Mapping[str, Mapping[int, Number]]  # marginal, conditional -> position -> number


def figures(run: Run) -> Iterator[Drawing | NotDrawn]:
    """Yield a figure for each temperature."""
    for temperature in run.temperatures:
        name = f"positions-t{temperature:g}"
        found = {
            item: by_position
            for item, numbers in run.numbers.items()
            if (by_position := _by_position(run, numbers, temperature))["marginal"]
        }
        if found:
            yield _drawing(name, run, temperature, found)
        else:
            why = f"no cell has acceptance by position at temperature {temperature:g}"
            yield NotDrawn(name, why)


def _by_position(run: Run, numbers: Numbers, temperature: float) -> ByPosition:
    return {
        which: {
            position: found
            for position in range(1, run.gamma + 1)
            if (found := numbers.get(_key(run, which, temperature, position)))
        }
        for which in _WHICH
    }


def _key(run: Run, which: str, temperature: float, position: int) -> str:
    return run.key(f"{which}_acceptance", temperature, more=f",position={position}")


def _drawing(
    name: str, run: Run, temperature: float, found: Mapping[Contender, ByPosition]
) -> Drawing:
    methods, drawn, left = drawn_of(run, found, grids.MOST_ROWS)
    rows = [
        (*who(item), temperature, position, f"{which}_acceptance", *number(value))
        for item, both in found.items()
        for which, by_position in both.items()
        for position, value in by_position.items()
    ]
    return Drawing(
        name,
        f"Acceptance by position in blocks of {run.gamma} drafted tokens at temperature "
        f"{temperature:g}. Left, marginal: of the blocks that drafted, those that accept the "
        "position and all before it. Right, conditional: of the blocks that test the position, "
        "those that accept it. Bands are 95 % intervals.",
        (PAGE, grids.height(len(drawn), methods)),
        (*WHO, "temperature", "position", "quantity", *NUMBER),
        rows,
        lambda figure: grids.fill(
            figure, run, [_row(run, place, methods, found) for place in drawn]
        ),
        left,
    )


def _row(
    run: Run, place: Place, methods: list[str], found: Mapping[Contender, ByPosition]
) -> list[Panel]:
    mine = {
        method: found[contender]
        for method in methods
        if (contender := Contender(*place, method)) in found
    }
    return [
        Panel(
            f"{run.title(place)}, {which}",
            "position in the block",
            "acceptance",
            {
                method: (list(both[which]), list(both[which].values()))
                for method, both in mine.items()
            },
            ends=(0.0, 1.03),
        )
        for which in _WHICH
    ]
