"""Times and counts that nobody can have measured are refused by the name of their file."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from draftmark.analysis.recommendation import longest_timed_block
from draftmark.errors import UserError
from draftmark.store.records import write_rows
from draftmark.store.speed_records import (
    PARTS,
    RUNS,
    TimedPass,
    TimedRun,
    read_parts,
    read_runs,
    write_parts,
)
from draftmark.types import MAX_GAMMA

PASS, RUN = TimedPass("target", 0, 1, 9, 5, 0.01), TimedRun("draft", 0, 1, 0.3)
BEYOND = [-1.0, 0.0, 1e-320, 2.0**40, 1e308, float("inf"), float("nan")]


def test_passes_and_runs_are_read_as_they_were_written(tmp_path: Path) -> None:
    passes = [PASS, replace(PASS, width=MAX_GAMMA + 1), replace(PASS, context=0, width=4096)]
    write_parts(tmp_path, passes)
    write_rows(tmp_path / RUNS, [asdict(RUN)])

    assert read_parts(tmp_path) == passes
    assert read_runs(tmp_path / RUNS) == [RUN]


@pytest.mark.parametrize("seconds", BEYOND)
def test_no_time_is_zero_infinite_or_longer_than_anybody_waited(
    tmp_path: Path, seconds: float
) -> None:
    write_rows(tmp_path / PARTS, [{**asdict(PASS), "seconds": seconds}])
    write_rows(tmp_path / RUNS, [{**asdict(RUN), "wall_s": seconds}])

    with pytest.raises(UserError, match=r"parts\.parquet cannot be read: .*seconds"):
        read_parts(tmp_path)
    with pytest.raises(UserError, match=r"runs\.parquet cannot be read: .*wall_s"):
        read_runs(tmp_path / RUNS)


@pytest.mark.parametrize(
    "odd", [{"width": 2**40}, {"width": 0}, {"batch_size": 0}, {"context": -1}, {"repeat": -1}]
)
def test_no_pass_is_wider_than_a_block_or_empty(tmp_path: Path, odd: dict[str, Any]) -> None:
    write_rows(tmp_path / PARTS, [{**asdict(PASS), **odd}])

    with pytest.raises(UserError, match=r"parts\.parquet cannot be read"):
        read_parts(tmp_path)


def test_passes_that_read_prompts_alone_time_no_block() -> None:
    assert longest_timed_block([replace(PASS, context=0)]) == 0
    assert longest_timed_block([PASS, replace(PASS, width=3)]) == 4
