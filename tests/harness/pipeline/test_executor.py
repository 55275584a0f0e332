"""Running the graph: what is there is not made again, a failure takes down only its dependents."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from draftmark.errors import UserError
from draftmark.pipeline.executor import ensure_entry, execute_stages
from draftmark.progress import Progress
from draftmark.store.graph import RESULT_FILES, Job, Node
from draftmark.store.store import Store

QUIET = Progress(quiet=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def made() -> list[str]:
    """Return the list that builds write their names into."""
    return []


def _node(made: list[str], name: str, inputs: Mapping[str, Node] | None = None) -> Node:
    def build(job: Job) -> None:
        made.append(name)
        upstream = "".join((path / "text").read_text() for path in job.inputs.values())
        (job.out / "text").write_text(f"{upstream}{name}")

    return Node("stage", name, {"name": name}, inputs or {}, code=(), build=build)


def _failing(name: str, error: BaseException, inputs: Mapping[str, Node] | None = None) -> Node:
    def build(job: Job) -> None:
        (job.out / "half").write_text("half")
        raise error

    return Node("stage", name, {"name": name}, inputs or {}, code=(), build=build)


def test_inputs_are_made_first_and_handed_over(store: Store, made: list[str]) -> None:
    first = _node(made, "a")
    last = _node(made, "c", {"x": first, "y": _node(made, "b", {"x": first})})

    assert execute_stages([last, first], store, QUIET) == {}
    assert made == ["a", "b", "c"]
    assert (store.load(last).directory / "text").read_text() == "aabc"


def test_what_is_there_is_not_made_again(store: Store, made: list[str]) -> None:
    nodes = [_node(made, "a"), _node(made, "b")]
    execute_stages(nodes[:1], store, QUIET)

    execute_stages(nodes, Store(store.root), QUIET)

    assert made == ["a", "b"]


def test_a_failure_takes_down_only_what_depends_on_it(store: Store, made: list[str]) -> None:
    bad = _failing("bad", RuntimeError("no"))
    child = _node(made, "child", {"x": bad, "y": _node(made, "good")})
    grandchild = _node(made, "grandchild", {"x": child})
    bystander = _node(made, "bystander")

    failures = execute_stages([grandchild, bystander], store, QUIET)

    assert made == ["good", "bystander"]
    assert failures.keys() == {bad.key, child.key, grandchild.key}
    assert {failure.label for failure in failures.values()} == {"bad"}


def test_what_a_person_can_mend_is_a_failure_with_its_sentence(store: Store) -> None:
    node = _failing("bad", UserError("Mend this."))

    failure = execute_stages([node], store, QUIET)[node.key]

    assert (failure.label, failure.reason, failure.details) == ("bad", "Mend this.", "")


def test_a_bug_is_a_failure_with_its_traceback(store: Store) -> None:
    node = _failing("bad", ZeroDivisionError("division by zero"))

    failure = execute_stages([node], store, QUIET)[node.key]

    assert failure.reason == "ZeroDivisionError: division by zero"
    assert "Traceback" in failure.details
    assert "raise error" in failure.details


def test_a_failure_is_said_when_it_happens(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    execute_stages([_failing("bad [node]", UserError("Mend [this]."))], store, Progress())

    assert "FAILED bad [node]: Mend [this]." in capsys.readouterr().err


def test_a_failed_node_is_tried_again_by_the_next_run(store: Store, made: list[str]) -> None:
    failing = _failing("a", RuntimeError("once"))
    assert execute_stages([failing], store, QUIET)

    assert execute_stages([_node(made, "a")], store, QUIET) == {}
    assert made == ["a"]


def test_an_interruption_is_no_failure_and_keeps_what_is_finished(
    store: Store, made: list[str]
) -> None:
    finished = _node(made, "a")
    interrupted = _failing("b", KeyboardInterrupt(), {"x": finished})

    with pytest.raises(KeyboardInterrupt):
        execute_stages([interrupted], store, QUIET)

    assert store.has(finished)
    assert not store.has(interrupted)


def test_every_made_node_is_said_with_its_seconds(
    store: Store, made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    node = _node(made, "a")
    ensure_entry(node, store, Progress())
    ensure_entry(node, store, Progress())

    [line] = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"a: \d+\.\d s", line)


def test_a_stage_is_named_with_its_task_where_it_has_one() -> None:
    node = Node("draft", "draft kd, seed 0", {}, {}, ())
    assert node.title == "draft kd, seed 0"
    assert replace(node, task="gsm8k").title == "draft kd, seed 0 (gsm8k)"
    named = replace(node, task="gsm8k", action="train kd")
    assert (named.title, named.object) == ("train kd (gsm8k)", "kd")
    assert named.key == node.key


def test_what_a_stage_leaves_in_its_scratch_folder_is_part_of_its_result(store: Store) -> None:
    def build(job: Job) -> None:
        (job.scratch / RESULT_FILES).mkdir()
        (job.scratch / RESULT_FILES / "notes").write_text("kept")
        (job.scratch / "checkpoint").write_text("not kept")
        (job.out / "text").write_text("made")

    node = Node("stage", "a", {}, {}, code=(), build=build)

    assert execute_stages([node], store, QUIET) == {}
    assert set(store.load(node).files) == {"notes", "text"}
    assert (store.load(node).directory / "notes").read_text() == "kept"
