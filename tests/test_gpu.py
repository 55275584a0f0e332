"""`make gpu` reports what its steps show, on a processor as on a GPU, and survives each of them."""

import json
import os
from pathlib import Path

import pytest
import torch

from tests.gpu.__main__ import main
from tests.gpu.report import as_markdown
from tests.gpu.steps import SKIPPED, STEPS, Done, Step, ended, run_step

FACTS = {
    "machine": {"accelerators": ["NVIDIA H100"], "processor": "some processor"},
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "abc",
    "dirty": True,
    "torch": "2.13.0",
    "python": "3.13.0",
    "device": "cuda",
    "small": False,
}
STEP = Step("some_step", "Some step", 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_cuda_it_says_so_and_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "out")]) == 1

    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("make gpu needs an NVIDIA GPU")
    assert list(tmp_path.iterdir()) == []


def test_a_step_ends_as_its_exit_code_and_last_line_say() -> None:
    table = json.dumps({"rows": [{"work": "reading"}], "note": "a note"})

    assert ended(STEP, 0, ["...", table], 2.0) == Done(
        STEP, "passed", 2.0, "", [{"work": "reading"}], "a note"
    )
    assert ended(STEP, SKIPPED, ["no GPU"], 1.0) == Done(STEP, "skipped", 1.0, "no GPU")
    failed = ended(STEP, 1, ["Traceback", "ValueError: bad"], 1.0)
    assert (failed.status, failed.reason) == ("failed", "exit code 1\nTraceback\nValueError: bad")
    assert ended(STEP, 1, [table], 1.0).rows == [{"work": "reading"}]  # tests that failed
    assert ended(STEP, 0, ["no table"], 1.0).status == "failed"
    assert ended(STEP, None, [], 9.0).status == "out of time"


def test_a_step_without_a_program_fails_by_name(tmp_path: Path) -> None:
    done = run_step(STEP, "cpu", tmp_path, small=True, seconds=60)

    assert done.status == "failed"
    assert "some_step" in done.reason
    assert (tmp_path / "some_step.log").read_text("utf-8").strip() in done.reason


def test_a_step_is_ended_at_its_limit(tmp_path: Path) -> None:
    done = run_step(Step("memory", "Memory", 1), "cpu", tmp_path, small=True, seconds=0.2)

    assert done.status == "out of time"
    assert done.seconds < 60


def test_the_page_has_a_line_and_a_section_for_each_step() -> None:
    steps = [Step(name, f"Step {name}", 1) for name in "abcd"]
    done = [
        Done(steps[0], "passed", 61.2, "", [{"x": 1 / 3, "y": "a|b"}, {"z": 2}], "what it is"),
        Done(steps[1], "failed", 2.0, "exit code 1\nKaboom"),
    ]

    page = as_markdown(FACTS, done, steps[2:])

    assert page.startswith("# draftmark on NVIDIA H100\n")
    assert "commit abc with changes" in page
    assert "| Step a | passed | 61 |" in page
    assert "| Step c | not yet run | |" in page
    assert "## Step a\n\nwhat it is\n\n| x | y | z |\n|---|---|---|\n| 0.3333 | a/b |  |" in page
    assert "## Step b\n\nFailed:\n\n```text\nexit code 1\nKaboom\n```" in page


@pytest.mark.slow
def test_every_step_runs_on_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    code = main(["--device", "cpu", "--small", "--minutes", "60", "--out", str(tmp_path)])

    [folder] = tmp_path.iterdir()
    report = json.loads((folder / "report.json").read_text("utf-8"))
    reasons = {one["step"]["name"]: one["reason"] for one in report["steps"]}
    assert code == 0, reasons
    assert list(reasons) == [step.name for step in STEPS]
    assert report["left"] == []
    skipped = {one["step"]["name"] for one in report["steps"] if one["status"] == "skipped"}
    assert skipped == {"served"}
    assert all(one["rows"] for one in report["steps"] if one["status"] == "passed")
    page = (folder / "report.md").read_text("utf-8")
    assert "no figure is a result" in page
