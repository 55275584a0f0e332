"""Writes the sample splits `<task>/<split>.jsonl.gz` of every task next to this file.

Run as `python -m draftmark.tasks.samples.generate`; the same rows come out every time.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from draftmark.tasks.samples.instructions import generate_alpaca_rows
from draftmark.tasks.samples.news import generate_cnn_dm_rows, generate_xsum_rows
from draftmark.tasks.samples.programs import generate_mbpp_rows
from draftmark.tasks.samples.word_problems import generate_gsm8k_rows

FOLDER = Path(__file__).parent
SIZES = {"train": 400, "validation": 64, "test": 64}
Row = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """Where a task's rows come from: an endless generator, and the columns that ask."""

    generate_rows: Callable[[int], Iterator[Row]]
    question_columns: tuple[str, ...]
    seed: int
    sizes: Mapping[str, int]

    def question_of(self, row: Row) -> tuple[str, ...]:
        """Return what a row asks."""
        return tuple(row[column] for column in self.question_columns)


SOURCES = {
    "gsm8k": Source(generate_gsm8k_rows, ("question",), 8_400, SIZES),
    "alpaca": Source(generate_alpaca_rows, ("instruction", "input"), 8_401, SIZES),
    # MBPP's own first split holds examples to prompt with.
    "mbpp": Source(generate_mbpp_rows, ("text",), 8_402, {"prompt": 10, **SIZES}),
    "cnn_dm": Source(generate_cnn_dm_rows, ("article",), 8_403, SIZES),
    "xsum": Source(generate_xsum_rows, ("document",), 8_404, SIZES),
}


def generate_splits(task: str) -> dict[str, list[Row]]:
    """Cut all splits from one run of the generator, so that no question occurs twice."""
    source = SOURCES[task]
    rows = drop_repeats(source.generate_rows(source.seed), source=source)
    return {split: list(islice(rows, size)) for split, size in source.sizes.items()}


def drop_repeats(rows: Iterable[Row], *, source: Source) -> Iterator[Row]:
    """Yield the rows in order, except those whose question an earlier row asks."""
    seen = set()
    for row in rows:
        if (question := source.question_of(row)) not in seen:
            seen.add(question)
            yield row


def generate_unseen_rows(task: str, *, num: int, seed: int) -> list[Row]:
    """Return rows of another seed, none with a question of a held-out split."""
    source = SOURCES[task]
    splits = source.sizes.keys() - {"train"}
    held_out = {source.question_of(row) for split in splits for row in read_split(task, split)}
    rows = source.generate_rows(seed)
    return list(islice((row for row in rows if source.question_of(row) not in held_out), num))


def split_path(task: str, split: str) -> Path:
    """Return where a split is written."""
    return FOLDER / task / f"{split}.jsonl.gz"


def read_split(task: str, split: str) -> list[Row]:
    """Read the rows of a written split."""
    text = gzip.decompress(split_path(task, split).read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Encode rows as JSON Lines."""
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a gzip file without time or name, so that equal rows give equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        packed.write(encode_rows(rows))


def main() -> None:
    """Write all splits of all tasks."""
    for task in SOURCES:
        (FOLDER / task).mkdir(exist_ok=True)
        for split, rows in generate_splits(task).items():
            write_rows(split_path(task, split), rows)
            print(f"{task} {split}: {len(rows)} rows")


if __name__ == "__main__":
    main()
