"""The example texts of a board as data: each prompt and response once, the marks of each cell.

Texts are a script of their own, which the board's pages share: pages that are opened from disk may
load scripts and no other data.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from draftmark.reports._site.pages import Board
from draftmark.results import Cell, Result
from draftmark.store.examples import Example, read_examples
from draftmark.text import printable_paragraphs, printable_text

LONGEST_PROMPT = 6000  # characters
_VARIABLE = "draftmarkTexts"  # what the site's scripts call it


@dataclass(frozen=True)
class BoardTexts:
    """The distinct texts of a board, and the marks on them: (place of the text, marks) by cell."""

    texts: list[dict[str, Any]] = field(default_factory=list)
    marks: dict[Cell, list[tuple[int, str]]] = field(default_factory=dict)

    def script(self) -> str:
        """Return the script that has the texts; all its characters are ASCII."""
        return f"window.{_VARIABLE} = {json.dumps(self.texts, separators=(',', ':'))};\n"


def board_texts(board: Board) -> BoardTexts:
    """Return the example texts of a board's cells."""
    found = BoardTexts()
    places: dict[tuple[Any, ...], int] = {}
    for row in board.rows:
        for temperature, item in _examples(board, row):
            text = _text(temperature, item)
            same = (*text.values(), *item.pieces)[1:]
            if same not in places:
                places[same] = len(places)
                found.texts.append(text)
            marks = block_marks(item) if temperature == 0 else acceptance_marks(item)
            found.marks.setdefault(row.cell, []).append((places[same], marks[: len(item.pieces)]))
    return found


def _examples(board: Board, row: Result) -> Iterator[tuple[float, Example]]:
    run = board.run
    for temperature in run.temperatures if row.records else ():
        for item in read_examples(run.directory / row.records, temperature, run.gamma):
            yield temperature, item


def _text(temperature: float, item: Example) -> dict[str, Any]:
    return {
        "pieces": [printable_paragraphs(piece, 200) for piece in item.pieces],
        "id": printable_text(item.example_id, 200),
        "temperature": temperature,
        "prompt": printable_paragraphs(item.prompt, LONGEST_PROMPT),
    }


def block_marks(item: Example) -> str:
    """Return a letter for each token at temperature 0, where acceptance is 0 or 1.

    a: accepted draft token; r: target's token after a rejection; b: bonus token after a fully
    accepted block; n: target's token where nothing was drafted. A block starts with a capital.
    """
    marks = ""
    while len(marks) < len(item.accept):
        chain = item.accept[len(marks)]
        accepted = next((j for j, accept in enumerate(chain) if accept < 0.5), len(chain))
        last = "n" if not chain else "b" if accepted == len(chain) else "r"
        block = "a" * accepted + last
        marks += block[0].upper() + block[1:]
    return marks[: len(item.accept)]


def acceptance_marks(item: Example) -> str:
    """Return a digit per token: its acceptance at position 1 in tenths, 0 to 9; n: no draft."""
    return "".join(f"{min(int(10 * chain[0]), 9)}" if chain else "n" for chain in item.accept)


def marks_by_text(
    cells: Sequence[Cell | None], found: BoardTexts
) -> list[tuple[int, dict[int, str]]]:
    """Return each text that two cells or more have, with their marks by the place of the cell."""
    marks: dict[int, dict[int, str]] = {}
    for place, cell in enumerate(cells):
        for text, mark in found.marks.get(cell, ()) if cell else ():
            marks.setdefault(text, {})[place] = mark
    return [(text, by_cell) for text, by_cell in sorted(marks.items()) if len(by_cell) > 1]
