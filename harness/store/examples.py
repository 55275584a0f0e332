"""A few of the texts that acceptance is measured on, token by token, to be read beside a draft."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from draftmark.store.records import TEXTS, read_texts, tables_name, write_rows

COUNT = 8  # of each task, pair and temperature: the first test prompts, not chosen ones
_WINDOW = 16  # tokens that a token's characters may depend on
_HALF = "\ufffd"  # how a decoder prints the bytes of a character that is not whole yet


def examples_name(temperature: float) -> str:
    """Return the file of the examples at a temperature, in a results folder."""
    return f"examples-t{temperature:g}.parquet"


def write_examples(texts: Path, tokenizer: Any, path: Path) -> None:
    """Write the first texts of a folder: the prompt, and the response's tokens as they read."""
    rows = [
        {
            "example_id": text.example_id,
            "prompt": tokenizer.decode(list(text.prompt_ids)),
            "pieces": pieces(tokenizer, text.response_ids),
        }
        for text in read_texts(texts / TEXTS)[:COUNT]
    ]
    write_rows(path, rows)


def pieces(tokenizer: Any, token_ids: Sequence[int]) -> list[str]:
    """Return what each token adds to the text; a character of several tokens is its last one's."""
    found = []
    for place in range(len(token_ids)):
        window = list(token_ids[max(0, place - _WINDOW) : place + 1])
        whole = tokenizer.decode(window[:-1]).rstrip(_HALF)
        piece = tokenizer.decode(window)[len(whole) :]
        found.append("" if piece.endswith(_HALF) else piece)
    return found


@dataclass(frozen=True)
class Example:
    """A prompt and what of its text a draft would have had accepted.

    `accept[s][j]`: the probability that the token drafted at depth j of a block that starts at s is
    accepted, of at most as many as the draft would draft there.
    """

    example_id: str
    prompt: str
    pieces: Sequence[str]
    accept: Sequence[Sequence[float]]


def read_examples(directory: Path, temperature: float, depth: int) -> list[Example]:
    """Return the examples in a folder of records, in blocks of `depth`; none if it has none."""
    texts, tables = directory / examples_name(temperature), directory / tables_name(temperature)
    if not (texts.is_file() and tables.is_file()):
        return []
    rows = {row["example_id"]: row for row in _first(tables)}
    return [
        Example(text["example_id"], text["prompt"], text["pieces"], _accept(row, depth))
        for text in _first(texts)
        if (row := rows.get(text["example_id"]))
    ]


def _first(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.ParquetFile(path).read().slice(0, COUNT).to_pylist()
    return rows


def _accept(row: dict[str, Any], depth: int) -> list[list[float]]:
    """Return the rows of a stored table that lead, cut to what is drafted (see `records`)."""
    values, drafted = row["accept"], row["drafted"]
    if len(values) == len(drafted):  # it slides: the same wherever a block starts
        return [values[s : s + min(n, depth)] for s, n in enumerate(drafted)]
    width = row["depth"]
    return [values[s * width : s * width + min(n, depth)] for s, n in enumerate(drafted)]
