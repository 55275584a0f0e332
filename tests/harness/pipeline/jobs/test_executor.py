"""Several processes make what one makes: beside each other, and whatever happens to a process."""

import io
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from parallel_stages import die, fail, meet, ran, sleep, stage
from rich.console import Console

from draftmark.errors import Unsupported, UserError
from draftmark.pipeline.executor import Failure, execute_stages
from draftmark.pipeline.jobs.executor import execute_with_jobs
from draftmark.pipeline.planning.needs import Needs
from draftmark.pipeline.publish import track_run
from draftmark.pipeline.status import run_status
from draftmark.pipeline.stopping import Stop, Stopped
from draftmark.progress import Progress
from draftmark.store.graph import Job, Node, topological_order
from draftmark.store.store import Store

QUIET = Progress(quiet=True)


@pytest.fixture(autouse=True)
def _workers_fork(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have workers be of a Python that has imported what they do."""
    monkeypatch.setattr(sys, "executable", python)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def run(
    store: Store,
    *nodes: Node,
    needs: Mapping[str, Needs] | None = None,
    progress: Progress = QUIET,
    memory_bytes: float = 1e12,
    **options: Any,
) -> dict[str, Failure]:
    limits: Any = {"jobs": 2, "needs": needs or {}, "memory_bytes": memory_bytes}
    failures = execute_with_jobs(nodes, store, progress, **limits, **options)
    assert psutil.Process().children(recursive=True) == []
    return failures


def test_stages_run_beside_each_other_in_two_processes_and_read_their_inputs(
    store: Store, tmp_path: Path
) -> None:
    first = stage("a", meet(tmp_path, "a", "b"))
    second = stage("b", meet(tmp_path, "b", "a"))
    last = [stage(name, None, {"x": first, "y": second}) for name in "cdefgh"]

    assert run(store, *last) == {}

    assert ran(store, first).overlaps(ran(store, second))
    assert {(store.load(node).directory / "text").read_text() for node in last} == {
        f"ab{name}" for name in "cdefgh"
    }
    assert len({ran(store, node).pid for node in (first, second, *last)}) == 2


def test_a_failure_takes_down_only_what_depends_on_it_and_says_what_the_serial_run_says(
    store: Store, tmp_path: Path
) -> None:
    bad = stage("bad", fail(ZeroDivisionError("no")))
    refused = stage("refused", fail(Unsupported("it does no batches")))
    mistaken = stage("mistaken", fail(UserError("Fix this.")))
    child = stage("child", None, {"x": bad, "y": stage("good")})
    nodes = [stage("grandchild", None, {"x": child}), refused, mistaken, stage("bystander")]

    failures = run(store, *nodes)

    alone = Store(tmp_path / "alone")
    expected = execute_stages(nodes, alone, QUIET)
    facts = {
        key: (failure.label, failure.reason, failure.refused) for key, failure in failures.items()
    }
    assert facts == {key: (one.label, one.reason, one.refused) for key, one in expected.items()}
    assert "ZeroDivisionError" in failures[bad.key].details
    made = {path.name for path in store.root.glob("stage/*")}
    assert made == {path.name for path in alone.root.glob("stage/*")}
    assert len(made) == 2


def test_a_damaged_result_is_made_again(store: Store) -> None:
    first = stage("a")
    last = stage("b", None, {"x": first})
    run(store, last)
    (store.load(first).directory / "text").write_text("other")
    again = Store(store.root)

    assert run(again, last) == {}

    assert (again.load(first).directory / "text").read_text() == "a"
    assert (again.load(last).directory / "text").read_text() == "ab"
    assert len(list((store.root / "damaged").iterdir())) == 1


def test_a_stage_that_takes_times_has_the_machine_to_itself(store: Store) -> None:
    """The others run before it, as each change between the two kinds leaves a processor idle."""
    timed = [stage(f"timed {number}", sleep(0.05)) for number in range(2)]
    others = [stage(f"other {number}", sleep(0.05)) for number in range(5)]
    after = [stage(f"after {node.label}", None, {"x": node}) for node in timed]
    needs = {node.key: Needs(alone=True, seconds=100.0) for node in timed}

    assert run(store, *after, *others, needs=needs) == {}

    moments = {node.label: ran(store, node) for node in (*timed, *others, *after)}
    for node in timed:
        mine = moments[node.label]
        assert [name for name, each in moments.items() if mine.overlaps(each)] == [node.label]
    first, last = sorted((moments[node.label] for node in timed), key=lambda each: each.began)
    assert all(moments[node.label].ended <= first.began for node in others)
    assert all(moments[node.label].began >= last.ended for node in after)


def test_stages_that_do_not_fit_into_memory_together_run_in_turn(store: Store) -> None:
    large = [stage(f"large {number}", sleep(0.05)) for number in range(2)]
    huge = stage("huge", sleep(0.05))
    needs = {node.key: Needs(memory_bytes=600, seconds=2.0) for node in large}
    needs[huge.key] = Needs(memory_bytes=5000, seconds=1.0)

    assert run(store, *large, huge, needs=needs, memory_bytes=1000) == {}

    moments = [ran(store, node) for node in (*large, huge)]
    assert not any(a.overlaps(b) for a in moments for b in moments if a is not b)


def test_the_stage_before_the_longest_chain_starts_first(store: Store) -> None:
    short = [stage(f"short {number}", sleep(0.2)) for number in range(3)]
    head = stage("head", sleep(0.2))
    tail = stage("tail", None, {"x": head})
    needs = {node.key: Needs(seconds=2.0) for node in short}
    needs |= {head.key: Needs(seconds=1.0), tail.key: Needs(seconds=5.0)}

    run(store, *short, tail, needs=needs)

    began = sorted((*short, head), key=lambda node: ran(store, node).began)
    assert head in began[:2]


def test_a_stage_whose_process_is_killed_starts_again_with_no_other_beside_it(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "deaths").mkdir()
    mortal = stage("mortal", die(tmp_path / "deaths", 1))
    others = [stage(f"other {number}", sleep(0.1)) for number in range(4)]
    child = stage("child", None, {"x": mortal})
    out = io.StringIO()

    assert run(store, child, *others, progress=Progress(Console(file=out))) == {}

    mine = ran(store, mortal)
    assert not any(mine.overlaps(ran(store, node)) for node in others)
    assert "mortal: its process was ended by SIGKILL; it starts again" in out.getvalue()


def test_a_stage_whose_process_is_killed_twice_fails_and_the_others_are_made(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "deaths").mkdir()
    mortal = stage("mortal", die(tmp_path / "deaths", 9))
    child, other = stage("child", None, {"x": mortal}), stage("other", sleep(0.3))
    nodes = list(topological_order([child, other]))

    with track_run(store, "run", "a title", nodes, 2) as (journal, stop):
        failures = run(store, child, other, journal=journal, stop=stop)

    assert failures.keys() == {mortal.key, child.key}
    assert re.match(
        r"its process was ended by SIGKILL twice, .* ran out of memory", failures[mortal.key].reason
    )
    assert store.has(other)
    now = run_status(store.root, "run")
    assert {one.label: one.state for one in now.stages.values()} == {
        "mortal": "failed",
        "child": "failed",
        "other": "done",
    }


def test_a_run_that_is_asked_to_stop_starts_no_stage(store: Store) -> None:
    stop = Stop()
    stop.requested = True

    with pytest.raises(Stopped):
        run(store, stage("a"), stop=stop)
    assert not store.root.exists()


def test_lines_and_steps_of_stages_are_shown_under_their_names(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(job: Job) -> None:
        with job.progress.step("reading", 3) as step:
            step.advance(1)
            step.advance(2, "half")

    monkeypatch.setattr("draftmark.progress.PLAIN_INTERVAL_S", 0.0)
    out = io.StringIO()

    run(store, stage("a", count), stage("b", count), progress=Progress(Console(file=out)))

    said = re.sub(r"\d+\.\d s", "_ s", out.getvalue()).splitlines()
    for name in "ab":
        own = [line for line in said if f"{name}:" in line]
        assert own == [
            f"  {name}: reading: 1/3",
            f"  {name}: reading: 3/3 half",
            f"{name}: _ s",
        ]


def test_each_process_computes_with_the_threads_of_the_run(store: Store) -> None:
    def note(job: Job) -> None:
        import torch

        (job.out / "threads").write_text(json.dumps(torch.get_num_threads()))

    node = stage("a", note)

    run(store, node, threads=3)

    assert (store.load(node).directory / "threads").read_text() == "3"
