"""Files of rows that someone else wrote, mutated: rows, or a sentence."""

import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hangs import no_hang
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mutations import mutated_bytes, mutated_json, mutated_lines, mutated_parquet

from draftmark.data.row_files import read_row_file
from draftmark.errors import UserError

MUTATIONS = int(os.environ.get("DRAFTMARK_MUTATIONS", "20"))
ROWS = [{"question": "How many?", "answer": "4"}, {"question": "Why?", "answer": "So."}]


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    return sink.getvalue()


FORMATS = {
    ".jsonl": ("".join(f"{json.dumps(row)}\n" for row in ROWS).encode(), mutated_lines),
    ".json": (json.dumps(ROWS).encode(), mutated_json),
    ".csv": (b"question,answer\nHow many?,4\nWhy?,So.\n", mutated_bytes),
    ".txt": (b"How many?\nWhy?\n", mutated_bytes),
    ".parquet": (_parquet(), mutated_parquet),
}


def _read(path: Path) -> list[Any]:
    split = read_row_file(path)
    rows = []
    for number, item in enumerate(split.items):
        assert str(path) in split.place(number)
        with suppress(ValueError):  # which `load_rows` reports with the place
            rows.append(split.parse(item))
    return rows


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_mutated_file_of_rows_has_rows_or_ends_in_a_sentence(tmp_path: Path, suffix: str) -> None:
    data, change = FORMATS[suffix]
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(data)
    assert len(_read(path)) == 2

    @settings(
        max_examples=MUTATIONS,
        database=None,
        derandomize=MUTATIONS < 100,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(st.data())
    def mutate(drawn: st.DataObject) -> None:
        mutation = drawn.draw(st.sampled_from([change, mutated_bytes]))
        path.write_bytes(mutation(data, drawn.draw))
        with suppress(UserError), no_hang():
            _read(path)

    mutate()


def test_a_field_of_csv_beyond_the_readers_limit_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("question\n" + "a" * 200_000)

    with pytest.raises(UserError, match=r"rows\.csv is not CSV: field larger than field limit"):
        read_row_file(tmp_path / "rows.csv")
