"""Numbers that were accepted when drafted tokens were counted within texts: what still holds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import run_command
from places import PACKAGE
from stored_runs import NUMBER, run_of

from draftmark.analysis.gate import accepted
from draftmark.analysis.quantities import DEFINITIONS, RATES
from draftmark.analysis.statistics import mean_ratio
from draftmark.results import Results
from draftmark.store.run_folder import save_results

EASY = tuple(np.linspace(0.5, 0.9, 24))
PUBLISHED = sorted((PACKAGE / "reports" / "accepted").glob("*.json"))


def counted_as_today(results: Results, directory: Path) -> None:
    """Give a stored run the number whose definition says how drafted tokens were counted."""
    (row,) = results.results
    number = replace(NUMBER, definition=DEFINITIONS["draft_acceptance_rate"])
    numbers = {**row.numbers, "draft_acceptance_rate[t=0,gamma=4]": number}
    save_results(replace(results, results=(replace(row, numbers=numbers),)), directory)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_accepted_numbers_load_and_are_those_of_their_history(path: Path) -> None:
    known = accepted.load_accepted(path)
    checked = 0
    for item in known.measured:
        for rate in RATES:
            number = known.history[-1]["numbers"].get(f"{item.name} {rate}")
            if number is not None:
                value = mean_ratio(item.counts(rate, item.prompts))
                assert value == pytest.approx(number["value"], abs=1e-4)
                checked += 1
    assert checked >= 16


def test_a_new_run_is_gated_against_old_numbers_and_accepted_over_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = tmp_path / "run", tmp_path / "accepted.json"
    results = run_of(run, {"kd": [EASY]})
    old = accepted.accept_run(results, run, reason="old", date="2026-01-01")
    accepted.save_accepted(old, file)
    counted_as_today(results, run)
    gate = ("gate", run, "--against", file, "--margin", "0.01")
    by_draft = (*gate, "--quantity", "draft_acceptance_rate")

    assert run_command(capsys, *gate).code == 0  # acceptance does not divide by drafted tokens
    refused = run_command(capsys, *by_draft)
    assert refused.code == 2
    assert "count drafted tokens within texts, the run whole blocks" in refused.err

    blessed = run_command(capsys, "bless", run, file, "--reason", "counted anew")
    assert blessed.code == 0
    lines = {line.split()[1]: line for line in blessed.out.splitlines() if "/" in line}
    unlike = ", not comparable: drafted tokens counted within texts)"
    assert lines["draft_acceptance_rate"].endswith(unlike)
    for rate in ("acceptance_rate", "block_efficiency", "accepted_per_pass"):
        now, was = lines[rate].split()[2], lines[rate].split()[-1]
        assert was == f"{now})"

    assert run_command(capsys, *by_draft).code == 0
    again = accepted.load_accepted(file)
    assert [event["reason"] for event in again.history] == ["old", "counted anew"]
    blessed = run_command(capsys, "bless", run, file, "--reason", "again")
    assert blessed.code == 0
    assert "not comparable" not in blessed.out  # both are counted as today
