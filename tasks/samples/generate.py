"""Writes the sample splits `<task>/<split>.jsonl.gz` of every task next to this file.

Run as `python -m tasks.samples.generate`; the same rows come out every time.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tasks.samples.alpaca_rows import alpaca_rows
from tasks.samples.gsm8k_rows import gsm8k_rows
from tasks.samples.mbpp_rows import mbpp_rows
from tasks.samples.news_rows import cnn_dm_rows, xsum_rows

FOLDER = Path(__file__).parent
SIZES = {"train": 400, "validation": 64, "test": 64}
Row = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """Where a task's rows come from: `rows(seed)` has no end, `asks` are the question's columns."""

    rows: Callable[[int], Iterator[Row]]
    asks: tuple[str, ...]
    seed: int
    sizes: Mapping[str, int]


SOURCES = {
    "gsm8k": Source(gsm8k_rows, ("question",), 8_400, SIZES),
    "alpaca": Source(alpaca_rows, ("instruction", "input"), 8_401, SIZES),
    # MBPP's own first split is of examples to prompt with.
    "mbpp": Source(mbpp_rows, ("text",), 8_402, {"prompt": 10, **SIZES}),
    "cnn_dm": Source(cnn_dm_rows, ("article",), 8_403, SIZES),
    "xsum": Source(xsum_rows, ("document",), 8_404, SIZES),
}


def splits(task: str) -> dict[str, list[Row]]:
    """The splits, cut from one run of the generator so that no question occurs twice."""
    source = SOURCES[task]
    rows = unseen(source.rows(source.seed), asks=source.asks)
    return {split: list(islice(rows, size)) for split, size in source.sizes.items()}


def unseen(rows: Iterable[Row], *, asks: tuple[str, ...]) -> Iterator[Row]:
    """The rows in order, less each one that asks what one before it asked."""
    seen = set()
    for row in rows:
        if (question := question_of(row, asks=asks)) not in seen:
            seen.add(question)
            yield row


def question_of(row: Row, *, asks: tuple[str, ...]) -> tuple[str, ...]:
    """What a row asks."""
    return tuple(row[column] for column in asks)


def fresh(task: str, *, num: int, seed: int) -> list[Row]:
    """`num` rows under a seed of their own, none with a question of a written held-out split."""
    source = SOURCES[task]
    held_out = {
        question_of(row, asks=source.asks)
        for split in source.sizes.keys() - {"train"}
        for row in read(task, split)
    }
    rows = source.rows(seed)
    kept = (row for row in rows if question_of(row, asks=source.asks) not in held_out)
    return list(islice(kept, num))


def jsonl(rows: list[Row]) -> bytes:
    """One JSON object a line."""
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def path_of(task: str, split: str) -> Path:
    """Where a split is written."""
    return FOLDER / task / f"{split}.jsonl.gz"


def read(task: str, split: str) -> list[Row]:
    """The rows of a written split."""
    text = gzip.decompress(path_of(task, split).read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def write(path: Path, *, data: bytes) -> None:
    """A gzip file without time or name, so that equal data gives equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        packed.write(data)


def main() -> None:
    """Write all splits of all tasks."""
    for task in SOURCES:
        (FOLDER / task).mkdir(exist_ok=True)
        for split, rows in splits(task).items():
            write(path_of(task, split), data=jsonl(rows))
            print(f"{task} {split}: {len(rows)} rows")


if __name__ == "__main__":
    main()
