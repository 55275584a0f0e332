"""Two methods side by side, as data: their numbers, paired differences, and the same prompts.

Methods are places in the ranking. Numbers are [value, low, high, n]; low and high may be None.
"""

from collections.abc import Iterator
from typing import Any

from draftmark.analysis.quantities import quantity_key
from draftmark.reports._site.numbers import known_values, number_values
from draftmark.reports._site.pages import Board, slug
from draftmark.reports._site.texts import BoardTexts, marks_by_text
from draftmark.results import Cell
from draftmark.text import printable_text


def sides_data(board: Board, texts: BoardTexts) -> dict[str, Any]:
    """Return what the page of two methods chooses from."""
    return {
        "methods": [printable_text(line.contender.method) for line in board.ranked],
        "pages": [board.page_of(line) for line in board.ranked],
        "numbers": list(_numbers(board)),
        "letters": {
            key: [line.letters.get(key, "") for line in board.ranked]
            for key in board.efficiency_keys
        },
        "pairs": [*_planned(board), *_from_the_best(board)],
        "texts": marks_by_text(_first_cells(board), texts),
    }


def _numbers(board: Board) -> Iterator[dict[str, Any]]:
    """Yield each headline quantity that has numbers, with that of each method."""
    for column in board.run.columns:
        key = column.key(board.run.gamma)
        values = [known_values(line.numbers.get(key)) for line in board.ranked]
        if any(values):
            place = slug(key.partition("[")[0])
            what = {"key": key, "title": column.heading, "place": place}
            yield {**what, "decimals": column.decimals, "values": values}


def _planned(board: Board) -> Iterator[list[Any]]:
    """Yield [key, a, b, a - b] of the comparisons that the recipe plans."""
    places = _places(board)
    for item in board.run.results.comparisons:
        if board.has(item.contender) and item.against in places:
            methods = (places[item.contender.method], places[item.against])
            yield [item.quantity, *methods, number_values(item.difference)]


def _from_the_best(board: Board) -> Iterator[list[Any]]:
    """Yield [key, a, b, a - b] of the best method and each other one."""
    places = _places(board)
    for temperature in board.run.temperatures:
        key = quantity_key("block_efficiency", temperature, board.run.gamma)
        names = [
            (places[item.contender.method], item.behind)
            for item in board.run.results.standings
            if item.quantity == key and board.has(item.contender)
        ]
        for place, behind in names[1:]:
            if behind:
                yield [key, names[0][0], place, number_values(behind)]


def _places(board: Board) -> dict[str, int]:
    return {line.contender.method: place for place, line in enumerate(board.ranked)}


def _first_cells(board: Board) -> list[Cell | None]:
    """Return the cell of each ranked method's first seed with numbers, None without one."""
    done = [[row.cell for row in line.cells if not row.failure] for line in board.ranked]
    return [cells[0] if cells else None for cells in done]
