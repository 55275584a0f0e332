"""The site's charts as data: what each is of, its axes, its points with their intervals.

A point is [x, y, low, high]; bounds are None where there is no interval. The page's script hands
them to the chart library and to a table of the same numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from draftmark.analysis import validation_history
from draftmark.analysis.cost_model import Costs, savings, speedup
from draftmark.reports._site.pages import Board, Run, key
from draftmark.results import Number, Result
from draftmark.text import plain

Chart = dict[str, Any]
Numbers = Mapping[str, Number]
GAMMAS = range(1, 17)
COSTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


def forests(board: Board) -> Iterator[Chart]:
    """Yield a task and pair's chart of methods for each temperature, best first."""
    run = board.run
    for temperature in run.temperatures:
        name = key("block_efficiency", temperature, run.gamma)
        found = [(line, line.numbers[name]) for line in board.lines if name in line.numbers]
        ordered = sorted(found, key=lambda item: -item[1].value)
        if ordered:
            groups = [line.letters.get(name, "") for line, _ in ordered]
            labels = [
                " · ".join(part for part in (group, plain(line.contender.method, 60)) if part)
                for (line, _), group in zip(ordered, groups, strict=True)
            ]
            points = [_point(place, number) for place, (_, number) in enumerate(ordered)]
            yield {
                "kind": "forest",
                "title": f"Block efficiency at temperature {temperature:g}",
                "x": f"tokens per pass of the target, blocks of {run.gamma}",
                "y": "group · method",
                "labels": labels,
                "series": [{"name": "block efficiency", "points": points}],
            }


def cell_charts(run: Run, row: Result) -> Iterator[Chart]:
    """Yield the charts of a cell: of those that it has numbers for."""
    for chart in (_by_gamma(run, row), _by_position(run, row), _training(row), *_costs(run, row)):
        if any(series["points"] for series in chart["series"]):
            yield chart


def _by_gamma(run: Run, row: Result) -> Chart:
    series = [
        {
            "name": f"temperature {temperature:g}",
            "points": [
                _point(gamma, row.numbers[name])
                for gamma in GAMMAS
                if (name := key("block_efficiency", temperature, gamma)) in row.numbers
            ],
        }
        for temperature in run.temperatures
    ]
    axes = {"x": "drafted tokens in a block", "y": "tokens per pass of the target"}
    return {"kind": "line", "title": "Block efficiency by block length", **axes, "series": series}


def _by_position(run: Run, row: Result) -> Chart:
    series = []
    for hue, temperature in enumerate(run.temperatures):
        for kind in ("conditional", "marginal"):
            where = f"{kind}_acceptance[t={temperature:g},gamma={run.gamma},position="
            points = [
                _point(position, row.numbers[f"{where}{position}]"])
                for position in range(1, run.gamma + 1)
                if f"{where}{position}]" in row.numbers
            ]
            name = f"{kind}, temperature {temperature:g}"
            look = {"dashed": kind == "marginal", "hue": hue}
            series.append({"name": name, "points": points, **look})
    axes = {"x": "position in the block", "y": "share accepted"}
    return {"kind": "line", "title": "Acceptance by position", **axes, "series": series}


def _training(row: Result) -> Chart:
    series = []
    if row.history:
        name = validation_history.criterion(row.history)
        told = {name: name.replace("_", " "), "loss": "loss of the step (right axis)"}
        series = [
            {
                "name": title,
                "points": [[p["step"], p[of], None, None] for p in row.history if of in p],
                "right": of == "loss",
            }
            for of, title in told.items()
        ]
    axes = {"x": "step", "y": "validation", "right": "loss, nats"}
    return {"kind": "line", "title": "Training", **axes, "series": series}


def _costs(run: Run, row: Result) -> Iterator[Chart]:
    for temperature in run.temperatures:
        rates = dict(_rates(row.numbers, temperature))
        series = [
            {
                "name": f"c + w = {cost:g}",
                "points": [
                    [gamma, speedup(Costs(cost), tau, 1.0, drafted), None, None]
                    for gamma, (tau, drafted) in rates.items()
                ],
            }
            for cost in COSTS
        ]
        yield {
            "kind": "line",
            "title": f"Expected speedup at temperature {temperature:g}",
            "x": "drafted tokens in a block",
            "y": "times as fast as the target alone",
            "ordered": True,
            "line_at": 1,
            "series": series,
        }


def _rates(numbers: Numbers, temperature: float) -> Iterator[tuple[int, tuple[float, float]]]:
    """Yield of each block length the tokens and the drafted tokens per pass of the target."""
    for gamma in GAMMAS:
        names = ("block_efficiency", "accepted_per_pass", "draft_acceptance_rate")
        found = [numbers.get(key(name, temperature, gamma)) for name in names]
        tau, accepted, rate = [number.value if number else 0.0 for number in found]
        if all(found) and rate:
            yield gamma, (tau, accepted / rate)


def best_costs(run: Run, row: Result) -> list[dict[str, Any]]:
    """Return, by temperature, the highest break-even cost and the best block length by cost."""
    found = []
    for temperature in run.temperatures:
        rates = dict(_rates(row.numbers, temperature))
        if not rates:
            continue
        break_even = {}
        for gamma, (tau, drafted) in rates.items():
            saved, paid = savings(tau, 1.0, drafted)
            break_even[gamma] = saved / paid
        most = max(break_even, key=lambda gamma: (break_even[gamma], -gamma))
        found.append(
            {
                "temperature": f"{temperature:g}",
                "break_even": f"{break_even[most]:.3f}",
                "gamma": most,
                "choices": [_choice(rates, cost) for cost in COSTS],
            }
        )
    return found


def _choice(rates: Mapping[int, tuple[float, float]], cost: float) -> str:
    found = ((g, speedup(Costs(cost), tau, 1.0, drafted)) for g, (tau, drafted) in rates.items())
    speedups = {0: 1.0} | dict(found)
    gamma = max(speedups, key=lambda g: (speedups[g], -g))
    return f"{speedups[gamma]:.2f}, gamma {gamma}" if gamma else "1, the target alone"


def _point(x: float, number: Number) -> Sequence[float | None]:
    return [x, number.value, number.low, number.high]
