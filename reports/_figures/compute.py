"""Acceptance against what training cost, in FLOPs; what was not trained is a level."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from draftmark.reports._figures import grids
from draftmark.reports._figures.drawing import NUMBER, WHO, Drawing, NotDrawn, number, spread, who
from draftmark.reports._figures.run import Place, Run, drawn_of
from draftmark.reports._figures.style import COLUMN, PAGE, in_rows, named_panels
from draftmark.results import Contender, Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS, _MOST_PANELS = 3, 9
_ROW_INCHES = 2.1
_NARROW = 6  # methods that a column has room for
_SAME, _APART = 1.03, 0.012  # FLOPs that are the same; what of the scale is between such points
_MARGIN, _LEAST, _MOST_TICKS = 1.15, 3.0, 5  # around the points; from end to end
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
Point = tuple[float, Number]  # FLOPs and acceptance


def figures(run: Run) -> Iterator[Drawing | NotDrawn]:
    """Yield a figure for each temperature."""
    for temperature in run.temperatures:
        name = f"compute-t{temperature:g}"
        key = run.key("acceptance_rate", temperature)
        found = {
            item: (_flops(run, item), numbers[key])
            for item, numbers in run.numbers.items()
            if key in numbers
        }
        if any(flops for flops, _ in found.values()):
            yield _drawing(name, run, temperature, found)
        else:
            yield NotDrawn(name, f"no draft was trained and scored at temperature {temperature:g}")


def _flops(run: Run, contender: Contender) -> float:
    return fmean(row.ledger.flops if row.ledger else 0.0 for row in run.cells(contender))


def _drawing(name: str, run: Run, temperature: float, found: Mapping[Contender, Point]) -> Drawing:
    methods, drawn, left = drawn_of(run, found, _MOST_PANELS)
    rows = len(in_rows(len(drawn), _COLUMNS))
    width = COLUMN if len(drawn) == 1 and len(methods) <= _NARROW else PAGE
    return Drawing(
        name,
        f"Acceptance rate at temperature {temperature:g}, blocks of {run.gamma} drafted tokens, "
        "against what training cost: FLOPs of draft and target's head as the ledger estimates "
        "them, the mean over seeds. Lines across are drafts that were not trained. Bars are 95 % "
        "intervals; points of the same compute stand side by side.",
        (width, rows * _ROW_INCHES + grids.height(0, methods, width)),
        (*WHO, "temperature", "flops", *NUMBER),
        [(*who(item), temperature, flops, *number(rate)) for item, (flops, rate) in found.items()],
        lambda figure: _fill(figure, run, methods, drawn, found),
        left,
    )


def _fill(
    figure: "Figure",
    run: Run,
    methods: Sequence[str],
    drawn: Sequence[Place],
    found: Mapping[Contender, Point],
) -> None:
    every = named_panels(figure, len(drawn), _COLUMNS, "training, FLOPs", "acceptance rate")
    low, high = _ends(found.values())
    for axes, place in zip(every, drawn, strict=True):
        mine = {
            method: found[contender]
            for method in methods
            if (contender := Contender(*place, method)) in found
        }
        for method, flops in _side_by_side(mine, (high / low) ** _APART).items():
            _point(axes, run, method, flops, mine[method][1])
        _log_scale(axes, low, high)
        axes.set_title(run.title(place, 28), loc="left")
    trained = {item.method for item, (flops, _) in found.items() if flops}
    grids.legend(figure, run, methods, points=trained)


def _side_by_side(points: Mapping[str, Point], apart: float) -> dict[str, float]:
    """Return where points stand: those of about the same FLOPs a little apart."""
    found: dict[str, float] = {}
    together: list[str] = []
    for method in [*sorted(points, key=lambda method: points[method][0]), None]:
        if together and (method is None or points[method][0] > _SAME * points[together[0]][0]):
            for place, each in enumerate(together):
                found[each] = points[each][0] * apart ** (place - (len(together) - 1) / 2)
            together = []
        if method is not None:
            together.append(method)
    return found


def _ends(found: Iterable[Point]) -> tuple[float, float]:
    """Return where the scale of FLOPs starts and stops."""
    spent = [flops for flops, _ in found if flops]
    low, high = min(spent), max(spent)
    margin = max(_MARGIN, math.sqrt(_LEAST * low / high))
    return low / margin, high * margin


def _log_scale(axes: "Axes", low: float, high: float) -> None:
    """Count in powers of ten, written without mathematical text."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(low, high)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two, as many of them as there is room for."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0**power for power in powers for digit in digits]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= _MOST_TICKS:
            return inside
    return inside[:: -(-len(inside) // _MOST_TICKS)]


def _power(value: float) -> str:
    """Return 5·10¹¹ for 5e11."""
    digits, _, exponent = f"{value:.0e}".partition("e")
    power = f"10{str(int(exponent)).translate(_RAISED)}"
    return power if digits == "1" else f"{digits}·{power}"


def _point(axes: "Axes", run: Run, method: str, flops: float, rate: Number) -> None:
    look = run.look(method)
    if flops:
        axes.errorbar([flops], [rate.value], yerr=spread([rate]), elinewidth=0.8, **look.point)
        return
    axes.axhline(rate.value, color=look.colour, linestyle=look.dash, linewidth=0.9)
    if rate.low is not None and rate.high is not None:
        axes.axhspan(rate.low, rate.high, color=look.colour, alpha=0.12, linewidth=0)
