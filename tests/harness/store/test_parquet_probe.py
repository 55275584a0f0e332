"""Parquet files of others are read in a process of its own first, which some of them end."""

import os
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from draftmark.store import parquet_probe
from draftmark.store.parquet_probe import require_readable


def written(path: Path) -> Path:
    pq.write_table(pa.table({"a": list(range(10))}), path)
    return path


def test_sound_and_merely_malformed_files_pass(tmp_path: Path) -> None:
    require_readable(written(tmp_path / "a\nb.parquet"), 10)
    (tmp_path / "other").write_text("no parquet")
    require_readable(tmp_path / "other", 10)
    require_readable(tmp_path / "missing", 10)


@pytest.mark.parametrize("end", [signal.SIGABRT, signal.SIGKILL])
def test_a_file_that_ends_the_process_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    probe = parquet_probe._Probe()
    monkeypatch.setattr(parquet_probe, "_probe", lambda process: probe)
    file = written(tmp_path / "a.parquet")
    require_readable(file, 10)
    assert probe._process
    os.kill(probe._process.pid, end)

    with pytest.raises(ValueError, match="the process that read it was lost"):
        require_readable(file, 10)
    require_readable(file, 10)
    probe.close()
