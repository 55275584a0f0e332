"""A rate over many runs: its order, its steps, and what is lacking."""

import csv
import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_runs import HOSTILE, MANIFEST, NUMBER, recipe_of, run_of

from draftmark.cli import main
from draftmark.errors import UserError
from draftmark.reports.trend import REPORT
from draftmark.results import Cell, Number, Pooled, Result, Results
from draftmark.store.run_folder import save_results

RATE = "acceptance_rate[t=0,gamma=4]"


def run(day: int, value: float | None, method: str = "kd", **recipe: Any) -> Results:
    """Return a run of a day's commit; None: its cell failed."""
    git = {"commit": f"{day:040d}", "date": f"2026-01-{day:02d}T12:00:00+00:00", "dirty": False}
    numbers = {} if value is None else {RATE: Number(value, value - 0.02, value + 0.02, 64, "x")}
    failure = "broke" if value is None else None
    row = Result(Cell("gsm8k", "p", method, 0), numbers, None, {}, failure)
    told = {**recipe_of(["gsm8k"], {method: [[0.5]]}, [0.0]), **recipe}
    return Results("mine", "t", told, (row,), (), (), (), (), {**MANIFEST, "git": git})


def trend(tmp_path: Path, *runs: Results, **how: Any) -> dict[str, Any]:
    report = replace(REPORT, runs=tuple((item, tmp_path) for item in runs), **how)
    return report(runs[-1], tmp_path)


def points(found: dict[str, Any]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(found["trend.csv"])))


def test_runs_are_in_the_order_of_their_commits_however_they_are_given(tmp_path: Path) -> None:
    found = trend(tmp_path, run(3, 0.3), run(1, 0.1), run(2, 0.2))
    assert [row["value"] for row in points(found)] == ["0.1", "0.2", "0.3"]
    assert "| 3 | 0.100 [0.080, 0.120] | 0.300 [0.280, 0.320] | +0.200 | 0 |" in found["trend.md"]


def test_a_step_is_named_by_its_commit_with_what_else_changed(tmp_path: Path) -> None:
    before = [run(day, 0.8) for day in range(1, 6)]
    after = [run(day, 0.7, training={"learning_rate": 9.0}) for day in range(6, 10)]
    found = trend(tmp_path, *before, *after)
    (row,) = (line for line in found["trend.md"].splitlines() if "learning_rate" in line)
    assert "00000000 2026-01-06 | 0.800 | 0.700 |" in row
    assert "learning_rate (0.003, now 9.0)" in row
    assert [row["new_level"] for row in points(found)] == list("000001000")


def test_a_step_with_nothing_else_changed_is_the_commits(tmp_path: Path) -> None:
    found = trend(tmp_path, *(run(day, 0.8 if day < 6 else 0.7) for day in range(1, 10)))
    assert "| the commit alone |" in found["trend.md"]


def test_one_run_and_one_without_numbers_render_and_say_what_they_lack(tmp_path: Path) -> None:
    one = trend(tmp_path, run(1, 0.5))
    assert "Fewer than 4 runs" in one["trend.md"]
    assert one["trend.png"].startswith(b"\x89PNG")
    for nothing in (run(1, None), replace(run(1, 0.5), results=())):
        found = trend(tmp_path, nothing)
        assert "No run has numbers: nothing to show." in found["trend.md"]
        assert set(found) == {"trend.md", "trend.csv"}
        assert points(found) == []


def test_a_run_that_failed_is_a_gap_and_named(tmp_path: Path) -> None:
    found = trend(tmp_path, run(1, 0.5), run(2, None), run(3, 0.5))
    assert len(points(found)) == 2
    assert "no number in 1 run, the last of them 00000000 2026-01-02" in found["trend.md"]


@pytest.mark.parametrize("failed", [0, 1])
def test_one_seed_that_is_left_says_nothing_of_both(tmp_path: Path, failed: int) -> None:
    def of_seeds(day: int, lost: int | None) -> Results:
        (first,) = run(day, 0.45).results
        second = replace(first, cell=replace(first.cell, seed=1))
        rows = [first, second]
        if lost is not None:
            rows[lost] = replace(rows[lost], numbers={}, failure="broke")
        both = Pooled(first.cell.contender, (0, 1), first.numbers)
        pooled = () if lost is not None else (both,)
        return replace(run(day, 0.45), results=tuple(rows), pooled=pooled)

    found = trend(tmp_path, of_seeds(1, None), of_seeds(2, failed))
    assert len(points(found)) == 1
    assert "no number in 1 run" in found["trend.md"]


def test_a_number_without_an_interval_is_drawn(tmp_path: Path) -> None:
    single = run(1, 0.5)
    bare = {RATE: replace(NUMBER, low=None, high=None, n=1)}
    (row,) = single.results
    assert trend(tmp_path, replace(single, results=(replace(row, numbers=bare),)))["trend.png"]


def test_a_run_without_a_commit_has_its_files_date(tmp_path: Path) -> None:
    single = run_of(tmp_path, {"kd": [[0.5, 0.6]]})
    single = replace(single, manifest={**MANIFEST, "git": None})
    assert "no commit 20" in REPORT(single, tmp_path)["trend.md"]


@pytest.mark.parametrize("dates", [False, True])
def test_the_figure_is_the_same_bytes_each_time(tmp_path: Path, dates: bool) -> None:
    runs = [run(day, 0.8 if day < 6 else 0.7) for day in range(1, 10)]
    first, again = (trend(tmp_path, *runs, dates=dates)["trend.png"] for _ in range(2))
    assert first == again


def test_hostile_names_do_nothing(tmp_path: Path) -> None:
    found = trend(tmp_path, *(run(day, 0.5, HOSTILE) for day in range(1, 3)))
    for bad in ("<script>", "\u202e", "\x1b", "\x00", "\n# d"):
        assert bad not in found["trend.md"]
    assert all(row["method"].startswith("'=1+1") for row in points(found))
    assert found["trend.png"]


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'block_efficiency'"):
        trend(tmp_path, run(1, 0.5), rate="block_eficiency")
    with pytest.raises(UserError, match=r"smallest step must be above 0, such as 0\.01; got 0"):
        trend(tmp_path, run(1, 0.5), least=0.0)


def test_the_command_finds_runs_below_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in (1, 2):
        save_results(run(day, 0.1 * day), tmp_path / "results" / f"run-{day}")
    out = tmp_path / "trend"

    def draftmark(*folders: Path) -> int:
        command = ["draftmark", "trend", *map(str, folders), "--out", str(out)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stop:
            main.main()
        return int(stop.value.code or 0)

    assert draftmark(tmp_path / "results", tmp_path / "results" / "run-1") == 0
    assert {path.name for path in out.iterdir()} == {"trend.md", "trend.csv", "trend.png"}
    assert "2 runs, from 00000000 2026-01-01" in capsys.readouterr().out
    assert draftmark(tmp_path / "nowhere") == 2
    assert "has no results.json" in capsys.readouterr().err
