"""Block efficiency over gamma, and the speedup predicted from it at a draft's cost."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from draftmark.analysis.quantities import GAMMAS
from draftmark.reports._figures import grids
from draftmark.reports._figures.drawing import NUMBER, WHO, Drawing, NotDrawn, Numbers, number, who
from draftmark.reports._figures.grids import Line, Panel
from draftmark.reports._figures.run import Place, Run, drawn_of
from draftmark.reports._figures.style import PAGE
from draftmark.results import Contender, Number

SUPPOSED = 0.1  # the cost of a drafted token, in plain passes, where none was measured
_PREDICTED = "tokens / (passes + drafted c), in plain target passes; prefill aside"


@dataclass(frozen=True)
class Curve:
    """A contender at a temperature: by gamma its tokens per pass, and its predicted speedup."""

    efficiency: Mapping[int, Number]
    speedup: Mapping[int, Number]
    cost: float | None  # None where that of others was measured, not this one's


def figures(run: Run, costs: Mapping[Contender, float]) -> Iterator[Drawing | NotDrawn]:
    """Yield a figure for each temperature; `costs` are the measured ones of drafted tokens."""
    for temperature in run.temperatures:
        name = f"gamma-t{temperature:g}"
        found = {
            item: curve
            for item, numbers in run.numbers.items()
            if (curve := _curve(run, item, numbers, temperature, costs))
        }
        if found:
            yield _drawing(name, run, temperature, found, bool(costs))
        else:
            yield NotDrawn(name, f"no cell has a block efficiency at temperature {temperature:g}")


def _curve(
    run: Run,
    contender: Contender,
    numbers: Numbers,
    temperature: float,
    costs: Mapping[Contender, float],
) -> Curve | None:
    lengths = [
        gamma for gamma in GAMMAS if run.key("block_efficiency", temperature, gamma) in numbers
    ]
    if not lengths:
        return None
    cost = costs.get(contender) if costs else SUPPOSED
    efficiency = {
        gamma: numbers[run.key("block_efficiency", temperature, gamma)] for gamma in lengths
    }
    speedup = {
        gamma: _priced(found, cost * _drafted(run, contender, temperature, gamma))
        for gamma, found in efficiency.items()
        if cost is not None
    }
    return Curve(efficiency, speedup, cost)


def _priced(efficiency: Number, drafting: float) -> Number:
    """Return the speedup where the drafting of a block costs so many plain passes."""

    def priced(value: float | None) -> float | None:
        return None if value is None else value / (1 + drafting)

    low, high = priced(efficiency.low), priced(efficiency.high)
    value = efficiency.value / (1 + drafting)
    return replace(efficiency, value=value, low=low, high=high, definition=_PREDICTED)


def _drafted(run: Run, contender: Contender, temperature: float, gamma: int) -> float:
    """Return drafted tokens per pass: accepted per pass over accepted per drafted token."""
    per_pass, share = (
        run.key(name, temperature, gamma) for name in ("accepted_per_pass", "draft_acceptance_rate")
    )
    found = [row.numbers for row in run.cells(contender)]
    drafting = [numbers for numbers in found if share in numbers and per_pass in numbers]
    if not drafting:
        return 0.0  # it never drafts
    return fmean(
        numbers[per_pass].value / numbers[share].value if numbers[share].value else gamma
        for numbers in drafting
    )


def _drawing(
    name: str, run: Run, temperature: float, found: Mapping[Contender, Curve], measured: bool
) -> Drawing:
    methods, drawn, left = drawn_of(run, found, grids.MOST_ROWS)
    rows = [
        (*who(item), temperature, gamma, quantity, *number(value), curve.cost)
        for item, curve in found.items()
        for quantity, by_gamma in (
            ("block_efficiency", curve.efficiency),
            ("predicted_speedup", curve.speedup),
        )
        for gamma, value in by_gamma.items()
    ]
    whose = (
        "each draft's own cost of a drafted token, the same at every gamma: c + w of its timed "
        "parts, at the smallest batch and for the longest blocks of the speed run; where no parts "
        "were timed, what its first speed run took beyond its passes, engine overheads included"
        if measured
        else f"a supposed cost of {SUPPOSED:g} plain passes for a drafted token: no speed was run"
    )
    return Drawing(
        name,
        f"Left: block efficiency, tokens per pass of the target, over gamma, the most tokens that "
        f"a block drafts, at temperature {temperature:g}. Right: the speedup that it predicts at "
        f"{whose}; prefill aside. Bands are 95 % intervals.",
        (PAGE, grids.height(len(drawn), methods)),
        (*WHO, "temperature", "gamma", "quantity", *NUMBER, "cost_of_a_drafted_token"),
        rows,
        lambda figure: grids.fill(
            figure, run, [_row(run, place, methods, found, measured) for place in drawn]
        ),
        left,
    )


def _row(
    run: Run,
    place: Place,
    methods: list[str],
    found: Mapping[Contender, Curve],
    measured: bool,
) -> list[Panel]:
    mine = {
        method: found[contender]
        for method in methods
        if (contender := Contender(*place, method)) in found
    }

    def lines(which: str) -> dict[str, Line]:
        curves = {method: getattr(curve, which) for method, curve in mine.items()}
        return {method: (list(it), list(it.values())) for method, it in curves.items()}

    title, across = run.title(place), "gamma (most tokens drafted in a block)"
    price = "at the measured cost" if measured else f"if a drafted token costs {SUPPOSED:g}"
    return [
        Panel(title, across, "tokens per pass", lines("efficiency"), 1.0),
        Panel(f"{title}, {price}", across, "predicted speedup", lines("speedup"), 1.0),
    ]
