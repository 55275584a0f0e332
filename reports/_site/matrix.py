"""The matrix of methods by tasks as data: every number that the front page's switches choose from.

Numbers are [value, low, high, n]; low and high are None without an interval.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from draftmark.analysis.literature import matching_figures
from draftmark.analysis.titles import terms_title
from draftmark.reports._shared.board import GAMMAS
from draftmark.reports._shared.rows import conditions_of
from draftmark.reports._site.numbers import known_values
from draftmark.reports._site.pages import Board, Line
from draftmark.results import Contender, Number, Standing
from draftmark.text import printable_text

MEASURES = {
    "block_efficiency": ("Block efficiency", "tokens per pass of the target", 2),
    "acceptance_rate": ("Acceptance", "accepted / tested drafted tokens", 3),
    "speedup": ("Speedup", "times as fast as the target alone, measured", 2),
}
_GAMMAS = {"", *map(str, GAMMAS)}
EXTRAS = {
    "speedup": "speedup",
    "quality_with_draft": "quality with draft",
    "quality_draft": "quality of draft alone",
}


def board_data(board: Board) -> dict[str, Any]:
    """Return a board with its ranked methods, their numbers, letters and distances."""
    standings = _standings(board)
    return {
        "task": printable_text(board.task_title),
        "pair": printable_text(board.pair),
        "run": board.run.label,
        "file": board.file,
        "sides": board.sides,
        "gamma": board.run.gamma,
        "methods": [_method(board, line) for line in board.ranked],
        "series": list(_series(board)),
        "letters": {t: [it.letters if it else "" for it in row] for t, row in standings.items()},
        "behind": {t: [_behind(it) for it in row] for t, row in standings.items()},
        "tested": bool(standings),
        "paired": any(it and it.behind for row in standings.values() for it in row),
    }


def _method(board: Board, line: Line) -> dict[str, Any]:
    seeds = len(line.cells)
    done = f"{seeds - line.num_failed} of {seeds}" if line.num_failed else f"{seeds}"
    return {
        "name": printable_text(line.contender.method),
        "page": board.page_of(line),
        "failed": line.all_failed,
        "seeds": f"{done} seed{'s' if seeds > 1 else ''}",
        "extras": [known_values(line.numbers.get(key)) for key in EXTRAS],
        "published": _published(board, line.contender),
    }


def _series(board: Board) -> Iterator[dict[str, Any]]:
    """Yield each measure at each condition with the number of each method, None without one."""
    numbers = [_measured(line) for line in board.ranked]
    for key in dict.fromkeys(key for found in numbers for key in found):
        name, _, rest = key.partition("[")
        if name not in MEASURES:
            continue
        terms = conditions_of(rest.removesuffix("]"))
        t, gamma = terms.pop("t", ""), terms.pop("gamma", "")
        if gamma in {*_GAMMAS, f"{board.run.gamma}"}:
            how = terms_title(",".join(f"{term}={value}" for term, value in terms.items()))
            condition = {"t": t, "gamma": gamma, "how": printable_text(how)}
            values = [known_values(found.get(key)) for found in numbers]
            yield {"measure": name, **condition, "numbers": values}


def _measured(line: Line) -> Mapping[str, Number]:
    """Return a line's numbers; the headline speedup stands under its condition."""
    found = {key: number for key, number in line.numbers.items() if key != "speedup"}
    if "speedup" in line.numbers:
        found[_headline_key(line)] = line.numbers["speedup"]
    return found


def _headline_key(line: Line) -> str:
    """Return the key of the condition that the headline speedups of a line's cells are of."""
    for row in line.cells:
        for key, number in row.numbers.items():
            if key.startswith("speedup[") and number == row.numbers.get("speedup"):
                return key
    return "speedup"


def _standings(board: Board) -> dict[str, list[Standing | None]]:
    """Return the standing of each ranked method at each temperature that has any."""
    found: dict[str, list[Standing | None]] = {}
    for temperature, key in zip(board.run.temperatures, board.efficiency_keys, strict=True):
        standings = board.run.results.standings
        known = {item.contender: item for item in standings if item.quantity == key}
        row = [known.get(line.contender) for line in board.ranked]
        if any(row):
            found[f"{temperature:g}"] = row
    return found


def _behind(standing: Standing | None) -> list[Any] | None:
    return known_values(standing.behind) if standing else None


def _published(board: Board, contender: Contender) -> str:
    figures = matching_figures(contender, board.run.results.recipe)
    found = "; ".join(f"{figure.value:.3f} ({figure.table.column})" for figure in figures)
    return printable_text(found)
