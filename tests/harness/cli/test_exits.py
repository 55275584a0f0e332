"""Exit codes and files of a gate that is refused or whose reader goes; what reaches a terminal."""

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest
from commands import Outcome, run_command, sentence_of
from small_runs import small_recipe
from stored_runs import run_of

from draftmark.analysis.gate import accepted
from draftmark.cli import gate as gate_commands
from draftmark.cli import terminal
from draftmark.pipeline.executor import execute_stages
from draftmark.pipeline.publish import track_run
from draftmark.progress import Progress
from draftmark.store.graph import Job, Node
from draftmark.store.store import Store

EASY = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
HARD = tuple(alpha - 0.2 for alpha in EASY)
ESCAPES = "\x1b[2J\x1b]0;title\x07\x9b31m\u202e\r"


@pytest.fixture
def draftmark(capsys: pytest.CaptureFixture[str]) -> Any:
    return partial(run_command, capsys)


@pytest.fixture
def runs(tmp_path: Path, draftmark: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with runs `same` and `worse`, and the accepted numbers of `same`."""
    monkeypatch.chdir(tmp_path)
    run_of(Path("same"), {"kd": [EASY]})
    run_of(Path("worse"), {"kd": [HARD]})
    assert draftmark("bless", "same", "f.json", "--reason", "first").code == 0
    return tmp_path


@pytest.mark.parametrize(("run", "code"), [("same", 0), ("worse", 1)])
def test_a_closed_pipe_is_not_a_verdict(runs: Path, run: str, code: int) -> None:
    read, write = os.pipe()
    os.close(read)  # as `| head -0` does
    command = [sys.executable, "-m", "draftmark", "gate", run, "--against", "f.json"]

    done = subprocess.run(command, stdout=write, stderr=write, cwd=runs)
    os.close(write)

    assert done.returncode == code
    assert (runs / run / "gate.md").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize(
    ("accepted", "streams", "code"),
    [
        ("f.json", ("stdout",), 2),
        ("f.json", ("stdout", "stderr"), 2),
        ("f.json", ("stderr",), 1),  # the verdict
        ("none.json", ("stderr",), 2),
    ],
)
def test_a_full_disk_behind_the_output_is_not_a_verdict(
    runs: Path, accepted: str, streams: tuple[str, ...], code: int
) -> None:
    command = [sys.executable, "-m", "draftmark", "gate", "worse", "--against", accepted]
    with Path("/dev/full").open("w") as full:
        other = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        done = subprocess.run(command, cwd=runs, text=True, **other | dict.fromkeys(streams, full))

    assert done.returncode == code
    assert (runs / "worse" / "gate.md").exists()
    if streams == ("stdout",):
        assert done.stderr.startswith("draftmark: Standard output cannot be written (No space")


def test_progress_goes_on_when_its_reader_has_gone() -> None:
    read, write = os.pipe()
    os.close(read)
    script = (
        "from draftmark.progress import Progress\n"
        "for n in range(3): Progress().say(f'line {n}')\n"
        "raise SystemExit(5)"
    )

    done = subprocess.run([sys.executable, "-c", script], stderr=write)
    os.close(write)

    assert done.returncode == 5


def _junit(folder: Path) -> tuple[str | None, str | None]:
    suite = xml.parse(folder / "gate.xml").getroot()
    [error] = suite.iter("error")
    return suite.get("errors"), error.get("message")


def test_a_refused_gate_says_why_in_its_files_and_leaves_no_older_verdict(
    runs: Path, draftmark: Any
) -> None:
    assert draftmark("gate", "same", "--against", "f.json").code == 0

    sentence = sentence_of(draftmark("gate", "same", "--against", "none.json"))

    reason = sentence.removeprefix("draftmark: ")
    assert "There is no none.json" in reason
    assert (runs / "same" / "gate.md").read_text().startswith("# Gate: REFUSED\n\nThere is no none")
    assert _junit(runs / "same") == ("1", reason)
    assert (runs / "same" / "gate.bencher.json").read_text() == "{}\n"
    assert draftmark("report", "same", "gate").code == 0  # rendered again from gate.json
    assert _junit(runs / "same") == ("1", reason)


def test_a_refused_gate_writes_to_its_folder_even_without_a_run_and_else_makes_none(
    runs: Path, draftmark: Any
) -> None:
    sentence_of(draftmark("gate", "nowhere", "--against", "f.json", "--out", "gate"))
    assert "nowhere has no results.json" in (runs / "gate" / "gate.md").read_text()

    sentence_of(draftmark("gate", "nowhere", "--against", "f.json"))
    assert not (runs / "nowhere").exists()
    sentence_of(draftmark("gate", ".", "--against", "f.json"))
    assert not (runs / "gate.md").exists()


def test_a_gate_that_fails_by_a_bug_leaves_no_older_verdict(
    runs: Path, draftmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert draftmark("gate", "same", "--against", "f.json").code == 0

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("draftmark.pipeline.more_prompts.judge_with_looks", fail)
    assert draftmark("gate", "same", "--against", "f.json").code == 70

    assert _junit(runs / "same") == ("1", "draftmark failed: ZeroDivisionError: a bug")
    assert (runs / "same" / "gate.md").read_text().startswith("# Gate: REFUSED\n\ndraftmark failed")


def test_four_acceptances_at_once_are_all_in_the_history(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept, together = accepted.accept_run, threading.Barrier(4, timeout=0.3)

    def slowly(*arguments: Any, **named: Any) -> Any:
        with suppress(threading.BrokenBarrierError):
            together.wait()  # all four have read the same history, unless three wait for a lock
        return accept(*arguments, **named)

    monkeypatch.setattr(accepted, "accept_run", slowly)
    reasons = [f"reason {number}" for number in range(4)]
    threads = [
        threading.Thread(
            target=gate_commands.bless, args=(Path("same"), Path("f.json")), kwargs={"reason": it}
        )
        for it in reasons
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    history = accepted.load_accepted(Path("f.json")).history
    assert [event["reason"] for event in history[:1]] == ["first"]
    assert {event["reason"] for event in history[1:]} == set(reasons)
    assert {path.name for path in runs.iterdir()} == {"f.json", "same", "worse"}


SPEAKS = r"""
import logging, warnings
warnings.warn("a\x1b[2Jb")
logging.getLogger("x").warning("c%s", "\x1b[2Jd")
"""
MAIN = "from draftmark.text import escape_messages as begin\nbegin()\nbegin()"
WORKER = """
from pathlib import Path
from draftmark.pipeline.journal import NO_JOURNAL
from draftmark.pipeline.stage_worker import WorkerContext, make_on_worker
make_on_worker("key", WorkerContext({}, Path(), None, NO_JOURNAL, flag=Path()), None, None)
"""


@pytest.mark.parametrize("begins", [MAIN, WORKER])
def test_what_libraries_say_is_printable_in_a_command_and_in_its_workers(begins: str) -> None:
    command = [sys.executable, "-c", begins + SPEAKS]
    done = subprocess.run(command, capture_output=True, text=True)

    assert "UserWarning: a\ufffd[2Jb" in done.stderr
    assert "c\ufffd[2Jd" in done.stderr
    assert "\x1b" not in done.stderr


def test_what_is_printed_is_printable_and_keeps_its_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal.echo(f"a{ESCAPES}b\nc")
    terminal.echo_lines([f"a{ESCAPES}b\nc"])
    Progress().say(f"a{ESCAPES}b\nc")
    with Progress().step(f"a{ESCAPES}", 1) as step:
        step.advance(1, ESCAPES)

    out, err = capsys.readouterr()
    clean = "a\ufffd[2J\ufffd]0;title\ufffd\ufffd31m\ufffd b"
    assert out == f"{clean}\nc\n{clean} c\n"
    assert err.startswith(f"{clean}\nc\n")
    assert not {*"\x1b\x07\x9b\u202e\r"} & {*err}


def test_escape_sequences_of_results_and_names_reach_no_terminal(
    tmp_path: Path, draftmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_of(Path("mine"), {f"kd{ESCAPES}": [EASY]})

    outcomes: list[Outcome] = [
        draftmark("report", "mine"),
        draftmark("report", f"mine{ESCAPES}"),
        draftmark("report", "mine", f"leader{ESCAPES}"),
        draftmark("bless", "mine", "f.json", "--reason", "x"),
        draftmark("bless", "mine", "f.json", "--reason", "x", "--methods", f"a{ESCAPES}"),
        draftmark("power", "mine"),
        draftmark("gate", "mine", "--against", "f.json"),
        draftmark("trend", "mine"),
        draftmark("plan", f"no{ESCAPES}"),
    ]

    for outcome in outcomes:
        assert not {*"\x1b\x07\x9b\u202e\r"} & {*outcome.out, *outcome.err}


def test_escape_sequences_of_recipes_and_stages_reach_no_terminal(
    tmp_path: Path, draftmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def fail(job: Job) -> None:
        raise RuntimeError(f"no {ESCAPES} luck")

    store, node = Store(Path("store")), Node("stage", f"a {ESCAPES}", {}, {}, code=(), build=fail)
    with track_run(store, "run", f"title {ESCAPES}", [node]) as (journal, stop):
        execute_stages([node], store, Progress(), journal=journal, stop=stop)
    recipe = small_recipe((4, 2, 2), ["kd"], top="speed = false", evaluation="temperatures = [0]")
    label = json.dumps(f"kd {ESCAPES}")
    Path("mine.toml").write_text(recipe.replace('name = "kd"', f'name = "kd"\nlabel = {label}'))

    status, plan = draftmark("status", "run", "--store", "store"), draftmark("plan", "mine.toml")

    assert (status.code, plan.code) == (0, 0), (status, plan)
    assert "luck" in status.out + status.err
    for outcome in (status, plan):
        assert not {*"\x1b\x07\x9b\u202e\r"} & {*outcome.out, *outcome.err}
