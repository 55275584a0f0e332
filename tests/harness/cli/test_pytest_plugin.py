"""The gate as a fixture, in a pytest of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from stored_runs import run_of

from draftmark.analysis.gate import accepted

TEST = """
def test_acceptance_has_not_fallen(acceptance_gate):
    outcome = acceptance_gate({run!r}, against={file!r}, margin={margin})
    assert outcome.verdict == "PASS"
"""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Return a folder with a good run, one that is worse, and the accepted numbers of the first."""
    good = [0.5, 0.6, 0.7, 0.8, 0.9, 0.65, 0.75, 0.85]
    results = run_of(tmp_path / "good", {"kd": [good]})
    run_of(tmp_path / "worse", {"kd": [[alpha - 0.1 for alpha in good]]})
    wobble = [0.2, -0.2, 0.1, -0.1, 0.1, 0.0, 0.1, -0.1]
    run_of(tmp_path / "wobbly", {"kd": [[a + b for a, b in zip(good, wobble, strict=True)]]})
    known = accepted.accept_run(results, tmp_path / "good", reason="x", date="2026-01-01")
    accepted.save_accepted(known, tmp_path / "accepted.json")
    return tmp_path


def outcome_of(told: Path, run: str, file: str = "accepted.json", margin: float = 0.01) -> str:
    text = TEST.format(run=str(told / run), file=str(told / file), margin=margin)
    (told / "test_it.py").write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "draftmark.cli.pytest_plugin",
        "-q",
        "test_it.py",
    ]
    surroundings = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        command, cwd=told, env={**os.environ, **surroundings}, capture_output=True, text=True
    )
    return done.stdout


def test_a_run_that_holds_passes(told: Path) -> None:
    assert "1 passed" in outcome_of(told, "good")


def test_a_run_that_fell_fails_with_its_interval(told: Path) -> None:
    printed = outcome_of(told, "worse")

    assert "1 failed" in printed
    assert "FAIL gsm8k/p/kd/t=0: -0.0" in printed
    assert "on 8 prompts" in printed
    assert "Traceback" not in printed


def test_a_mistake_fails_in_one_sentence(told: Path) -> None:
    assert "accept a run's numbers first" in outcome_of(told, "good", file="nowhere.json")
    assert "A margin of 0 must be above 0" in outcome_of(told, "good", margin=0)


def test_a_mistake_is_told_once_and_what_is_inconclusive_says_what_would_do(told: Path) -> None:
    assert "During handling" not in outcome_of(told, "good", file="nowhere.json")
    printed = outcome_of(told, "wobbly")
    assert "INCONCLUSIVE gsm8k/p/kd/t=0: +0.0" in printed
    assert re.search(r"on 8 prompts; too few prompts: \d+ would do", printed)
