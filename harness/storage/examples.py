"""A few of the texts that acceptance is measured on, token by token, to be read beside a draft."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.storage.records import TEXTS, read_texts, write_rows

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
