"""What is said of a run: of one that goes on, that failed, that is over, that nobody knows."""

import json
import os
import time
from pathlib import Path

import psutil
import pytest

from draftmark.errors import Unsupported, UserError
from draftmark.pipeline.executor import execute_stages
from draftmark.pipeline.journal import ALIVE, Journal
from draftmark.pipeline.publish import track_run
from draftmark.pipeline.status import SILENT_S, latest_run, run_status, seconds_left, status_lines
from draftmark.pipeline.stopping import Stop, Stopped
from draftmark.progress import Progress
from draftmark.store.graph import Job, Node, topological_order
from draftmark.store.store import Store

QUIET = Progress(quiet=True)


def _node(name: str, before: Node | None = None, error: Exception | None = None) -> Node:
    def build(job: Job) -> None:
        if error:
            raise error
        (job.out / "text").write_text(name)

    inputs = {"before": before} if before else {}
    return Node("stage", name, {"name": name}, inputs, code=(), build=build)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def _run(store: Store, *nodes: Node) -> None:
    with track_run(store, "run", "a title", topological_order(nodes)) as (journal, stop):
        execute_stages(nodes, store, QUIET, journal=journal, stop=stop)


def test_a_finished_run_says_what_was_there_what_was_made_and_what_failed(store: Store) -> None:
    first = _node("first")
    execute_stages([first], store, QUIET)
    bad = _node("bad", error=RuntimeError("no luck"))
    undone = _node("batches", error=Unsupported("it does no batches"))

    _run(store, _node("second", first), _node("child", bad), undone)

    now = run_status(store.root, "run")
    states = {stage.label: stage.state for stage in now.stages.values()}
    made = {"first": "cached", "second": "done"}
    assert states == made | {"bad": "failed", "child": "failed", "batches": "refused"}
    text = "\n".join(status_lines(now))
    assert text.startswith("run: a title\nfinished in ")
    assert "5 stages: 1 cached, 1 done, 2 failed, 1 refused" in text
    assert "failed stage: bad: RuntimeError: no luck" in text
    assert "failed stage: child: needs bad" in text
    assert "refused stage: batches: it does no batches" in text
    assert latest_run(store.root) == "run"


def test_a_run_that_goes_on_says_what_runs_for_how_long_and_what_is_left(store: Store) -> None:
    first = _node("first")
    second, third = _node("second", first), _node("third", first)
    journal = Journal.open(store, "run")
    journal.record_run("a title", topological_order([second, third]), store)
    execute_stages([first], store, QUIET, journal=journal)
    journal.record("start", key=second.key)
    with journal.recorded(QUIET, second).step("reading", 8) as step:
        step.advance(3)

    now = run_status(store.root, "run")

    (running,) = now.in_state("running")
    assert now.end is None
    assert running.note.startswith("reading 3/8, ")
    assert [stage.label for stage in now.in_state("to do")] == ["third"]
    left = seconds_left(now)
    assert left is not None
    assert left >= now.in_state("done")[0].seconds  # the third is still to come
    assert "1 done, 1 running, 1 to do" in status_lines(now)[1]


def test_no_time_is_foretold_before_a_stage_of_every_kind_is_done(store: Store) -> None:
    journal = Journal.open(store, "run")
    journal.record_run("a title", [_node("first")], store)

    assert seconds_left(run_status(store.root, "run")) is None


def test_what_is_left_counts_the_stages_that_run_at_once_and_those_that_run_alone(
    store: Store,
) -> None:
    def stage(kind: str, name: str) -> Node:
        return Node(kind, name, {"name": name}, {}, code=(), build=lambda job: None)

    done = [stage("scores", "done"), stage("decodes", "timed")]
    left = [stage("scores", f"{n}") for n in range(4)] + [stage("decodes", "late")]
    execute_stages(done, store, QUIET)
    now = {}
    for jobs in (1, 2):
        journal = Journal.open(store, f"run{jobs}")
        journal.record_run("a title", [*done, *left], store, jobs)
        now[jobs] = run_status(store.root, f"run{jobs}")
    scores_s, decodes_s = (one.seconds for one in now[1].in_state("cached"))

    assert seconds_left(now[1]) == pytest.approx(4 * scores_s + decodes_s)
    assert seconds_left(now[2]) == pytest.approx(2 * scores_s + decodes_s)


def test_two_stages_that_run_at_once_are_both_shown(store: Store) -> None:
    nodes = [_node("first"), _node("second")]
    journal = Journal.open(store, "run")
    journal.record_run("a title", nodes, store, 2)
    for node in nodes:
        journal.record("start", key=node.key)

    lines = status_lines(run_status(store.root, "run"))

    assert "2 running" in lines[1]
    assert [line for line in lines if line.startswith("  running stage: ")] == lines[2:]
    assert len(lines[2:]) == 2


def test_a_run_elsewhere_lives_as_long_as_it_shows_itself(store: Store) -> None:
    journal = Journal.open(store, "run")
    journal.record_run("a title", [_node("first")], store)
    assert journal.folder is not None
    (path,) = journal.folder.glob("*.jsonl")
    path.write_text(json.dumps({**json.loads(path.read_text()), "host": "elsewhere"}) + '\n{"at')
    (journal.folder / ALIVE).touch()
    shown = (journal.folder / ALIVE).stat().st_mtime

    assert run_status(store.root, "run", shown + SILENT_S / 2).end is None
    assert (run_status(store.root, "run", shown + SILENT_S * 2).end or "").startswith("it died")


def _clock(monkeypatch: pytest.MonkeyPatch, shift_s: float) -> None:
    """Shift the clock, as seen by journals and status, and the times at which processes began."""
    now, began = time.time(), psutil.Process().create_time()
    monkeypatch.setattr(time, "time", lambda: now + shift_s)
    monkeypatch.setattr(time, "time_ns", lambda: int((now + shift_s) * 1e9))
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: began + shift_s)


def test_a_run_goes_on_after_the_clock_went_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _node("first"), _node("second")
    with track_run(store, "run", "a title", [first, second]) as (journal, _):
        journal.record("start", key=first.key)
        _clock(monkeypatch, -3600)
        journal.record("failed", key=first.key, reason="no luck")
        journal.record("start", key=second.key)
        lines = status_lines(run_status(store.root, "run"))

    assert lines[1].startswith("running for < 1 s;")
    assert "1 running, 1 failed" in lines[1]
    assert lines[2].startswith("  running stage: second: < 1 s, ")
    assert status_lines(run_status(store.root, "run"))[1].startswith("finished in < 1 s;")


def test_the_last_attempt_is_the_last_one_after_the_clock_went_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        with track_run(store, "run", "first", []):
            raise UserError("The disk is full.")

    with pytest.raises(UserError):
        fail()
    with track_run(store, "other", "between", []):
        pass
    _clock(monkeypatch, -3600)
    with track_run(store, "run", "second", []):
        pass

    assert run_status(store.root, "run").title == "second"
    assert latest_run(store.root) == "run"


def test_a_journal_that_is_no_file_is_passed_by(store: Store) -> None:
    _run(store, _node("first"))
    (journal,) = (store.root / "runs" / "run").iterdir()
    os.mkfifo(journal / "elsewhere-1.jsonl")
    (store.root / "runs" / "run" / "notes").mkdir()

    assert run_status(store.root, "run").end == ""


def test_a_run_that_is_asked_to_stop_begins_no_stage_but_loads_what_is_there(store: Store) -> None:
    first = _node("first")
    execute_stages([first], store, QUIET)
    stop = Stop()
    stop.requested = True

    assert execute_stages([first], store, QUIET, stop=stop) == {}
    with pytest.raises(Stopped):
        execute_stages([_node("second", first)], store, QUIET, stop=stop)


def test_an_error_ends_a_run_with_its_name(store: Store) -> None:
    def fail() -> None:
        with track_run(store, "run", "a title", []):
            raise UserError("The disk is full.")

    with pytest.raises(UserError):
        fail()
    assert run_status(store.root, "run").end == "The disk is full."


def test_an_unknown_run_is_named_with_the_known_ones(store: Store) -> None:
    with pytest.raises(UserError, match="There is no run in"):
        latest_run(store.root)
    _run(store, _node("first"))
    with pytest.raises(UserError, match=r"run 'other' in .*; known: run\."):
        run_status(store.root, "other")
