"""Writes the sample splits `gsm8k/{train,validation,test}.jsonl.gz` next to this file.

Run as `python -m tasks.samples.generate`; the same rows come out every time.
"""

import gzip
import json
from pathlib import Path

from tasks.samples.gsm8k_rows import gsm8k_rows

FOLDER = Path(__file__).parent / "gsm8k"
SEED = 8_400
SIZES = {"train": 400, "validation": 64, "test": 64}


def splits() -> dict[str, list[dict[str, str]]]:
    """The splits, cut from one run of the generator so that no question occurs twice."""
    rows = iter(gsm8k_rows(sum(SIZES.values()), seed=SEED))
    return {split: [next(rows) for _ in range(size)] for split, size in SIZES.items()}


def jsonl(rows: list[dict[str, str]]) -> bytes:
    """One JSON object a line."""
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def read(split: str) -> list[dict[str, str]]:
    """The rows of a written split."""
    text = gzip.decompress((FOLDER / f"{split}.jsonl.gz").read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def write(path: Path, *, data: bytes) -> None:
    """A gzip file without time or name, so that equal data gives equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        packed.write(data)


def main() -> None:
    """Write all splits."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for split, rows in splits().items():
        write(FOLDER / f"{split}.jsonl.gz", data=jsonl(rows))
        print(f"{split}: {len(rows)} rows")


if __name__ == "__main__":
    main()
