"""Parquet files of others are read in a process of its own first, which some of them end."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hangs import no_hang
from stored_runs import run_of

from draftmark.analysis.board.counts import read_counts
from draftmark.analysis.published_counts import unpack_counts
from draftmark.data.row_files import read_row_file
from draftmark.errors import UserError
from draftmark.store import parquet_probe
from draftmark.store.parquet_probe import require_readable
from draftmark.store.run_folder import load_results, save_results

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


def fatal(path: Path) -> Path:
    """Write a file whose footer ends a process that reads it."""
    is_optional = b"%\x02\x18"  # how often a value stands in a row, then the column's name
    path.write_bytes(written(path).read_bytes().replace(is_optional, b"%\x00\x18"))
    return path


def test_a_footer_that_ends_its_reader_is_refused_where_counts_are_read(tmp_path: Path) -> None:
    file = fatal(tmp_path / "counts.parquet")
    for read in (read_counts, lambda path: unpack_counts(path, tmp_path / "run")):
        with pytest.raises(UserError, match="the process that read it was lost"):
            read(file)


@pytest.mark.parametrize("name", ["tables-t0.parquet", "decodes.parquet", "other.parquet"])
def test_a_footer_that_ends_its_reader_is_refused_with_its_run(tmp_path: Path, name: str) -> None:
    run_of(tmp_path, {"kd": [(0.5, 0.6)]})
    (tmp_path / "results.sha256").unlink()
    fatal(tmp_path / "records/00" / name)

    with pytest.raises(UserError, match=f"{name} cannot be read: the process that read it was"):
        load_results(tmp_path)


def test_a_footer_that_ends_its_reader_is_refused_among_rows(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows\.parquet cannot be read: the process that read it"):
        read_row_file(fatal(tmp_path / "rows.parquet"))


def test_threads_that_read_at_once_get_their_own_answers(tmp_path: Path) -> None:
    sound, bad = written(tmp_path / "a.parquet"), fatal(tmp_path / "b.parquet")
    probe = parquet_probe._Probe()
    with no_hang(), ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda path: probe.reads(path, 0), [sound, sound, bad] * 3))
    probe.close()

    assert answers == [True, True, False] * 3


def test_a_forked_process_ends_without_the_reader_of_its_parent(tmp_path: Path) -> None:
    file, probe = written(tmp_path / "a.parquet"), parquet_probe._Probe()
    assert probe.reads(file, 0)
    reader, probe._owner = probe._process, os.getppid()
    with no_hang():
        probe.close()  # as a forked process does at its exit
    assert reader
    assert reader.poll() is None

    probe._owner = os.getpid()
    probe.close()
    assert reader.poll() == 0


def test_a_fifo_in_place_of_a_record_is_not_waited_for(tmp_path: Path) -> None:
    run_of(tmp_path, {"kd": [(0.5, 0.6)]})
    (tmp_path / "results.sha256").unlink()
    os.mkfifo(tmp_path / "records/00/decodes.parquet")

    with no_hang():
        load_results(tmp_path)


def test_a_folder_of_records_outside_the_run_is_not_read(tmp_path: Path) -> None:
    results = run_of(tmp_path / "run", {"kd": [(0.5, 0.6)]})
    (row,) = results.results
    for records in ("..", str(tmp_path), "records/00/../../.."):
        odd = replace(results, results=(replace(row, records=records),))
        save_results(odd, tmp_path / "run")
        with pytest.raises(UserError, match="leads out of"):
            load_results(tmp_path / "run")
