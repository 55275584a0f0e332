"""Parquet files of others are read in a process of its own first, which some of them end."""

import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from draftmark.analysis.board.counts import read_counts
from draftmark.analysis.published_counts import unpack_counts
from draftmark.errors import UserError
from draftmark.store import parquet_probe
from draftmark.store.parquet_probe import require_readable

FIX = "make it again"


def written(path: Path) -> Path:
    pq.write_table(pa.table({"a": list(range(10))}), path)
    return path


def test_sound_and_merely_malformed_files_pass(tmp_path: Path) -> None:
    require_readable(written(tmp_path / "a\nb.parquet"), 10, FIX)
    (tmp_path / "other").write_text("no parquet")
    require_readable(tmp_path / "other", 10, FIX)
    require_readable(tmp_path / "missing", 10, FIX)


@pytest.mark.parametrize("end", [signal.SIGABRT, signal.SIGKILL])
def test_a_file_that_ends_the_process_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    file, probe = written(tmp_path / "a.parquet"), parquet_probe._Probe()
    assert probe.reads(file, 10)
    start, dying = probe._start, 2

    def start_and_end() -> Any:
        nonlocal dying
        process = start()
        if dying:
            dying -= 1
            process.send_signal(end)
        return process

    monkeypatch.setattr(probe, "_start", start_and_end)
    probe.close()
    assert not probe.reads(file, 10)  # twice lost
    assert probe.reads(file, 10)
    probe.close()


def test_a_process_that_was_lost_before_costs_no_file(tmp_path: Path) -> None:
    file, probe = written(tmp_path / "a.parquet"), parquet_probe._Probe()
    assert probe.reads(file, 10)
    assert probe._process
    probe._process.kill()

    assert probe.reads(file, 10)
    probe.close()


def test_a_footer_that_ends_its_reader_is_refused_where_counts_are_read(tmp_path: Path) -> None:
    file = written(tmp_path / "counts.parquet")
    is_optional = b"%\x02\x18"  # how often a value stands in a row, then the column's name
    file.write_bytes(file.read_bytes().replace(is_optional, b"%\x00\x18"))
    for read in (read_counts, lambda path: unpack_counts(path, tmp_path / "run")):
        with pytest.raises(UserError, match="the process that read it was lost"):
            read(file)
