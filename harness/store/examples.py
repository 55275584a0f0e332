"""Example texts for the site: tokens as text, with each token's acceptance probability."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pyarrow.parquet as pq
from pydantic import BaseModel, Field

from draftmark.store.reading import explained
from draftmark.store.records import TEXTS, read_texts, tables_name, write_rows

Row = TypeVar("Row", bound=BaseModel)
NUM_EXAMPLES = 8  # for each task, pair and temperature; the first test prompts, not selected ones
_WINDOW = 16  # a token's characters depend on at most so many tokens before it
_PARTIAL = "\ufffd"  # a decoder's output for an incomplete character


def examples_name(temperature: float) -> str:
    """Return the file name of the examples at a temperature."""
    return f"examples-t{temperature:g}.parquet"


def write_examples(texts: Path, tokenizer: Any, path: Path) -> None:
    """Write the first texts of a folder: the prompt as text, the response as text per token."""
    rows = []
    for text in read_texts(texts / TEXTS)[:NUM_EXAMPLES]:
        prompt = tokenizer.decode(list(text.prompt_ids))
        pieces = token_pieces(tokenizer, text.response_ids)
        rows.append({"example_id": text.example_id, "prompt": prompt, "pieces": pieces})
    write_rows(path, rows)


def token_pieces(tokenizer: Any, token_ids: Sequence[int]) -> list[str]:
    """Return the text that each token adds; a character of several tokens goes to the last."""
    pieces = []
    for end in range(1, len(token_ids) + 1):
        window = list(token_ids[max(0, end - 1 - _WINDOW) : end])
        before = tokenizer.decode(window[:-1]).rstrip(_PARTIAL)
        piece = tokenizer.decode(window)[len(before) :]
        pieces.append("" if piece.endswith(_PARTIAL) else piece)
    return pieces


@dataclass(frozen=True)
class Example:
    """A prompt, the tokens of its response, and how likely a draft's tokens are accepted.

    `accept[s][j]`: acceptance probability at depth j of a block starting at s, for as many depths
    as the draft drafts there.
    """

    example_id: str
    prompt: str
    pieces: Sequence[str]
    accept: Sequence[Sequence[float]]


def read_examples(directory: Path, temperature: float, depth: int) -> list[Example]:
    """Return the examples in a folder of records, for blocks of `depth`; [] if it has none."""
    texts, tables = directory / examples_name(temperature), directory / tables_name(temperature)
    if not (texts.is_file() and tables.is_file()):
        return []
    rows = {row.example_id: row for row in _first(tables, _TableRow)}
    return [
        Example(text.example_id, text.prompt, text.pieces, _accept(row, depth))
        for text in _first(texts, _TextRow)
        if (row := rows.get(text.example_id))
    ]


class _TextRow(BaseModel):
    """A row of example texts."""

    example_id: str
    prompt: str
    pieces: list[str]


class _TableRow(BaseModel):
    """What an example needs of an acceptance table's row."""

    example_id: str
    accept: list[Annotated[float, Field(ge=-1e-3, le=1.001)]]
    drafted: list[Annotated[int, Field(ge=0)]]
    depth: Annotated[int, Field(ge=1)]


def _first(path: Path, kind: type[Row]) -> list[Row]:
    """Return the first rows of a Parquet file; the others, and other columns, are not read."""
    with explained(path), pq.ParquetFile(path) as file:
        batches = file.iter_batches(NUM_EXAMPLES, columns=list(kind.model_fields))
        rows = (row for batch in islice(batches, 1) for row in batch.to_pylist())
        return [kind.model_validate(row) for row in rows]


def _accept(row: _TableRow, depth: int) -> list[list[float]]:
    """Return a stored table (see `acceptance_tables`) by block start, cut to the drafted depths."""
    values, drafted = row.accept, row.drafted
    step = 1 if len(values) == len(drafted) else row.depth  # 1: the table slides
    return [values[s * step : s * step + min(n, depth)] for s, n in enumerate(drafted)]
