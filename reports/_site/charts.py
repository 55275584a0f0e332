"""The site's charts as data: titles, axes, and series of points with intervals.

A point is [x, y, low, high], or [x, y] without an interval; of a chart with costs, it is [block
length, tokens, drafted tokens] of a pass. The page's script draws each chart with a table of its
numbers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from draftmark.analysis import validation_history
from draftmark.analysis.cost_model import Costs, modelled_speedup, savings
from draftmark.analysis.quantities import Terms, quantity_key
from draftmark.reports._shared.rows import ways_of_drafting
from draftmark.reports._site.numbers import rounded
from draftmark.reports._site.pages import Board, SiteRun
from draftmark.results import Number, Result
from draftmark.text import printable_text

Chart = dict[str, Any]
GAMMAS = range(1, 17)
COSTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


def forest_charts(board: Board) -> Iterator[Chart]:
    """Yield a chart of a board's methods for each temperature, the best method first."""
    run = board.run
    for temperature, key in zip(run.temperatures, board.efficiency_keys, strict=True):
        found = [(line, line.numbers[key]) for line in board.lines if key in line.numbers]
        found.sort(key=lambda item: -item[1].value)
        names = [
            (line.letters.get(key), printable_text(line.contender.method, 60)) for line, _ in found
        ]
        points = [_point(place, number) for place, (_, number) in enumerate(found)]
        if points:
            yield {
                "kind": "forest",
                "title": f"Block efficiency at temperature {temperature:g}",
                "x": f"tokens per pass of the target, blocks of {run.gamma}",
                "y": "group · method",
                "labels": [" · ".join(filter(None, parts)) for parts in names],
                "series": [{"name": "block efficiency", "points": points}],
            }


def cell_charts(run: SiteRun, row: Result) -> Iterator[Chart]:
    """Yield the charts of a cell; charts without numbers are skipped."""
    for chart in (_by_gamma(run, row), _by_position(run, row), _training(row), *_costs(run, row)):
        if any(series["points"] for series in chart["series"]):
            yield chart


def _lines(title: str, x: str, y: str, series: Sequence[Chart], **more: Any) -> Chart:
    return {"kind": "line", "title": title, "x": x, "y": y, **more, "series": series}


def _by_gamma(run: SiteRun, row: Result) -> Chart:
    series = []
    for temperature in run.temperatures:
        keys = {gamma: run.key("block_efficiency", temperature, gamma) for gamma in GAMMAS}
        series.append({"name": f"temperature {temperature:g}", "points": _points(row, keys)})
    title, y = "Block efficiency by block length", "tokens per pass of the target"
    return _lines(title, "drafted tokens in a block", y, series)


def _by_position(run: SiteRun, row: Result) -> Chart:
    series = []
    for hue, t in enumerate(run.temperatures):
        for kind in ("conditional", "marginal"):
            places = range(1, run.gamma + 1)
            keys = {p: quantity_key(f"{kind}_acceptance", t, run.gamma, p) for p in places}
            look = {"dashed": kind == "marginal", "hue": hue}
            name = f"{kind}, temperature {t:g}"
            series.append({"name": name, "points": _points(row, keys), **look})
    return _lines("Acceptance by position", "position in the block", "share accepted", series)


def _training(row: Result) -> Chart:
    series = []
    if row.history:
        name = validation_history.validation_criterion(row.history)
        titles = {name: name.replace("_", " "), "loss": "loss of the step (right axis)"}
        for key, title in titles.items():
            points = [[p["step"], rounded(p[key])] for p in row.history if key in p]
            series.append({"name": title, "points": points, "right": key == "loss"})
    return _lines("Training", "step", "validation", series, right="loss, nats")


def _costs(run: SiteRun, row: Result) -> Iterator[Chart]:
    for temperature in run.temperatures:
        rates = _rates(run, row, temperature).items()
        points = [[g, rounded(tokens), rounded(drafted)] for g, (tokens, _, drafted) in rates]
        title = f"Expected speedup at temperature {temperature:g}"
        x, y = "drafted tokens in a block", "times as fast as the target alone"
        yield _lines(title, x, y, [{"points": points}], costs=COSTS, line_at=1)


_Rates = Mapping[int, tuple[float, float, float]]  # tokens, passes, drafted tokens


def _ways(run: SiteRun, temperature: float) -> Iterable[tuple[str | None, str]]:
    return ways_of_drafting([run.results], temperature).items()


def _rates(run: SiteRun, row: Result, temperature: float, draft: str | None = None) -> _Rates:
    """Return (tokens, passes, drafted tokens) per pass of the target at each block length."""
    rates = {}
    for gamma in GAMMAS:
        names = ("block_efficiency", "accepted_per_pass", "draft_acceptance_rate")
        at = Terms(temperature, draft)
        found = [row.numbers.get(at.key(name, gamma)) for name in names]
        tau, accepted, share = [number.value if number else 0.0 for number in found]
        if all(found) and share:
            rates[gamma] = tau, 1.0, accepted / share
    return rates


def best_costs(run: SiteRun, row: Result) -> list[dict[str, Any]]:
    """Return the highest break-even cost and best block length by cost, for each temperature."""
    found = []
    ways = [(t, *way) for t in run.temperatures for way in _ways(run, t)]
    for temperature, draft, how in ways:
        if rates := _rates(run, row, temperature, draft):
            saved = {gamma: savings(*rate) for gamma, rate in rates.items()}
            break_even = {gamma: passes / drafted for gamma, (passes, drafted) in saved.items()}
            best = _highest(break_even)
            found.append(
                {
                    "temperature": f"{temperature:g}{how}",
                    "break_even": f"{break_even[best]:.3f}",
                    "gamma": best,
                    "choices": [_choice(rates, cost) for cost in COSTS],
                }
            )
    return found


def _choice(rates: _Rates, cost: float) -> str:
    speedups = {0: 1.0} | {g: modelled_speedup(Costs(cost), *rate) for g, rate in rates.items()}
    gamma = _highest(speedups)
    return f"{speedups[gamma]:.2f}, blocks of {gamma}" if gamma else "1, the target alone"


def _highest(values: Mapping[int, float]) -> int:
    """Return the block length with the highest value, the shortest of equal ones."""
    return max(values, key=lambda gamma: (values[gamma], -gamma))


def _points(row: Result, keys: Mapping[int, str]) -> list[Sequence[float | None]]:
    return [_point(x, row.numbers[key]) for x, key in keys.items() if key in row.numbers]


def _point(x: float, number: Number) -> Sequence[float | None]:
    values = (number.value, number.low, number.high) if number.low is not None else (number.value,)
    return [x, *map(rounded, values)]
