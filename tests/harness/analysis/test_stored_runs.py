"""Summaries of runs: as good as the results, however old, damaged or missing their files are."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutated_bytes
from stored_runs import run_of

from draftmark import registry
from draftmark.analysis import stored_runs
from draftmark.analysis.stored_runs import (
    SUMMARY,
    StoredRuns,
    read_summary,
    readable_folders,
    summarise_run,
    write_summary,
)
from draftmark.errors import UserError
from draftmark.pipeline.render import write_reports
from draftmark.results import Finding, Results
from draftmark.store.run_folder import RESULTS, SUMS, load_results, save_results

ENTRIES = [{"stage": "draft", "label": "kd", "key": "0" * 64, "manifest": {}, "seconds": 2.0}]


@pytest.fixture
def run(tmp_path: Path) -> Results:
    """Write a run of two methods and two seeds, one cell of which failed, and its summary."""
    results = run_of(tmp_path / "run", {"kd": [(0.5, 0.6), (0.7, 0.8)], "sft": [(0.9,)]})
    rows = [replace(row, provenance={"entries": ENTRIES}) for row in results.results]
    rows[2] = replace(rows[2], failure="broke", numbers={})
    found = (Finding("error", "a", "b"), Finding("warning", "a", "b"), Finding("note", "a", "b"))
    results = replace(results, results=tuple(rows), findings=found)
    save_results(results, tmp_path / "run")
    write_summary(summarise_run(results), tmp_path / "run")
    return results


def test_a_summary_counts_the_results_and_keeps_their_rates(tmp_path: Path, run: Results) -> None:
    found = read_summary(tmp_path / "run")

    assert found == summarise_run(load_results(tmp_path / "run"))
    assert (found.num_boards, found.num_cells, found.num_failed) == (1, 3, 1)
    assert (found.num_errors, found.num_warnings, found.seconds) == (1, 1, 2.0)
    assert [dict(item.numbers) for item in found.contenders] == [
        dict(run.numbers.get(item.contender, {})) for item in found.contenders
    ]


@pytest.mark.parametrize("left", ["nothing", "of other results", "an older format", "no hash"])
def test_a_summary_that_does_not_fit_is_made_anew_from_the_results(
    tmp_path: Path, run: Results, left: str
) -> None:
    folder = tmp_path / "run"
    whole = (folder / SUMMARY).read_bytes()
    if left == "nothing":
        (folder / SUMMARY).unlink()
    elif left == "of other results":
        save_results(replace(run, title="another"), folder)
    elif left == "an older format":
        (folder / SUMMARY).write_text("{}")
    else:
        (folder / SUMS).unlink()

    title = read_summary(folder).title

    assert title == ("another" if left == "of other results" else "A title")
    if left == "no hash":  # nothing says of which results the file is, so it is not used
        assert (folder / SUMMARY).read_bytes() == whole
    else:
        assert title in (folder / SUMMARY).read_text()


def test_damage_never_changes_a_number(tmp_path: Path, run: Results) -> None:
    folder = tmp_path / "run"
    whole, right = (folder / SUMMARY).read_bytes(), read_summary(folder)

    @settings(max_examples=50, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def damage(drawn: st.DataObject) -> None:
        (folder / SUMMARY).write_bytes(mutated_bytes(whole, drawn.draw))
        assert read_summary(folder) == right

    damage()


def test_without_a_summary_damaged_results_are_named(tmp_path: Path, run: Results) -> None:
    (tmp_path / "run" / SUMMARY).unlink()
    (tmp_path / "run" / RESULTS).write_bytes(b"{}")

    with pytest.raises(UserError, match=r"results\.json is damaged"):
        read_summary(tmp_path / "run")


def test_a_list_of_many_runs_reads_the_results_of_the_newest_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which makes the cost of `trend` and `site` that of summaries, a hundredth of results."""
    for number in range(6):
        results = run_of(tmp_path / f"{number}", {"kd": [(0.5, 0.6)]})
        git = {**results.manifest["git"], "date": f"2026-01-0{number + 1}T00:00:00+00:00"}
        results = replace(results, manifest={**results.manifest, "git": git})
        save_results(results, tmp_path / f"{number}")
        write_summary(summarise_run(results), tmp_path / f"{number}")
    loaded: list[str] = []

    def load(directory: Path) -> Results:
        loaded.append(directory.name)
        return load_results(directory)

    monkeypatch.setattr(stored_runs, "load_results", load)
    runs = StoredRuns([tmp_path])
    for name, fields in (("trend", {}), ("site", {"cells": 2})):
        report = replace(registry.find_registered("reports", name), runs=runs, **fields)
        write_reports(results, tmp_path / "out", [report])

    assert loaded == ["4", "5"]
    assert (tmp_path / "out" / "trend.csv").read_text().count("\n") == 1 + 6


def test_a_foreign_result_is_passed_over_with_a_line_unless_it_was_named(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "results.json").write_text('{"model": "mine"}')
    with pytest.raises(UserError, match="No results can be read"):
        readable_folders([tmp_path], print)

    save_results(run_of(tmp_path / "good", {"kd": [(0.5, 0.6)]}), tmp_path / "good")
    lines: list[str] = []
    assert readable_folders([tmp_path], lines.append) == [tmp_path / "good"]
    (line,) = lines
    assert "passed over" in line
    assert "foreign/results.json cannot be read" in line

    named = [tmp_path / "good", tmp_path / "foreign"]
    assert readable_folders(named, lines.append) == named
    assert lines == [line]
    with pytest.raises(UserError, match="foreign"):
        list(StoredRuns(named))
