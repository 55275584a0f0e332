"""Parquet files of a few kilobytes that unpack to gigabytes, which no reader unpacks."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run_command, sentence_of
from stored_runs import run_of

from draftmark.data.row_files import read_row_file
from draftmark.errors import UserError
from draftmark.store import parquet_files
from draftmark.store.parquet_files import check_parquet
from draftmark.store.plain_files import NotPlain
from draftmark.store.records import read_rows

LONG, TIMES = "x" * 1_000_000, 5000


def _repeated() -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(TIMES, np.int32)), [LONG])


def _in_lists() -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, TIMES], pa.int32()), _repeated())


BOMBS = {"texts": _repeated, "texts in a list": _in_lists}


def _written(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, store_schema=False)
    return path


@pytest.mark.parametrize("name", BOMBS)
def test_equal_texts_are_not_unpacked(name: str, tmp_path: Path) -> None:
    path = _written(tmp_path / "bomb.parquet", prompt=BOMBS[name]())
    assert path.stat().st_size < 3_000_000

    with pytest.raises(NotPlain, match=r"bomb\.parquet unpacks to 5\.0 GB of text; split it"):
        check_parquet(path)
    for read in (read_rows, read_row_file):
        with pytest.raises(UserError, match=r"unpacks to 5\.0 GB"):
            read(path)


def test_more_values_than_memory_takes_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "MAX_VALUES", 1000)
    path = _written(tmp_path / "bomb.parquet", accept=[[0.0] * 1001])

    with pytest.raises(UserError, match=r"claims 1001 values of .* of such a file 1000"):
        read_rows(path)
    assert read_rows(_written(tmp_path / "rows.parquet", accept=[[0.0] * 1000]))


def test_long_texts_that_differ_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "MAX_BYTES", 100_000_000)
    texts = [f"{number}{LONG[:100_000]}" for number in range(70)]  # 70 x 7 MB would be too much
    path = _written(tmp_path / "rows.parquet", text=texts, more=[[{"a": "b"}]] * 70)

    assert [row["text"] for row in read_rows(path)] == texts


def test_a_table_of_blocks_longer_than_texts_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of(tmp_path / "run", {"kd": [(0.5, 0.6)]})
    (tmp_path / "run/results.sha256").unlink()
    path = tmp_path / "run/records/00/tables-t0.parquet"
    table = pq.read_table(path)
    depth = pa.array([10**7] * table.num_rows)
    pq.write_table(table.set_column(table.column_names.index("depth"), "depth", depth), path)

    sentence = sentence_of(run_command(capsys, "power", tmp_path / "run"))

    assert "a block holds 1 to 256 tokens, not 10000000" in sentence
