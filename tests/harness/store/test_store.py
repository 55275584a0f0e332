"""The store: a result is there in full and as it was written, or it is not there."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from draftmark.errors import UserError
from draftmark.pipeline.executor import ensure_entry, execute_stages
from draftmark.progress import Progress
from draftmark.store import store as store_module
from draftmark.store.entries import ENTRY, Damaged, Entry, entry_facts
from draftmark.store.graph import Job, Node
from draftmark.store.store import Store, explain_full_disk, write_json

QUIET = Progress(quiet=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def _node(build: Callable[[Job], None] | None = None, **settings: Any) -> Node:
    return Node("stage", "a node", settings, {}, code=(), build=build or _write)


def _write(job: Job) -> None:
    (job.out / "deep").mkdir()
    (job.out / "a.txt").write_text("a")
    (job.out / "deep" / "b.txt").write_text("b")


def _again(store: Store) -> Store:
    """Return the store as another process sees it."""
    return Store(store.root)


def _below(folder: Path) -> list[Path]:
    return list(folder.rglob("*")) if folder.exists() else []


def test_what_was_committed_is_loaded(store: Store) -> None:
    node = _node(x=1)

    made = ensure_entry(node, store, QUIET)

    assert _again(store).has(node)
    assert _again(store).load(node) == made
    assert (made.directory / "deep" / "b.txt").read_text() == "b"
    assert set(made.files) == {"a.txt", "deep/b.txt"}


def test_what_is_not_there_is_a_key_error(store: Store) -> None:
    assert not store.has(_node())
    with pytest.raises(KeyError):
        store.load(_node())


def test_a_given_folder_is_used_where_it_is(store: Store, tmp_path: Path) -> None:
    node = Node("target", "given", {"digest": "d"}, {}, code=(), existing_folder=tmp_path)

    assert store.has(node)
    assert ensure_entry(node, store, QUIET).directory == tmp_path
    assert not (tmp_path / ENTRY).exists()


def test_an_entry_says_how_it_came_to_be(store: Store) -> None:
    upstream = _node(x=1)
    node = Node("later", "of it", {"y": [2]}, {"input": upstream}, code=(), build=_write)
    execute_stages([node], store, QUIET)

    entry = _again(store).load(node)

    assert (entry.stage, entry.label, entry.settings) == ("later", "of it", {"y": [2]})
    assert entry.inputs == {"input": upstream.key}
    assert entry.seconds >= 0
    assert {"python", "versions", "git", "hardware"} <= entry.manifest.keys()


def test_an_entry_names_no_path_of_this_machine(store: Store) -> None:
    entry = ensure_entry(_node(), store, QUIET)

    written = json.loads((entry.directory / ENTRY).read_text("utf-8"))

    assert [text for text in _strings(written) if Path(text).is_absolute()] == []
    assert [text for text in _strings(entry_facts(entry)) if Path(text).is_absolute()] == []
    assert str(store.root) not in json.dumps(written)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for item in pair for text in _strings(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in _strings(item))


def _change(entry: Entry) -> None:
    (entry.directory / "a.txt").write_text("b")


def _delete(entry: Entry) -> None:
    (entry.directory / "deep" / "b.txt").unlink()


def _truncate(entry: Entry) -> None:
    text = (entry.directory / ENTRY).read_text()
    (entry.directory / ENTRY).write_text(text[: len(text) // 2])


def _empty(entry: Entry) -> None:
    (entry.directory / ENTRY).write_text("")


def _replace_with(document: str) -> Callable[[Entry], None]:
    def replace(entry: Entry) -> None:
        (entry.directory / ENTRY).write_text(document)

    return replace


def _take_anothers(entry: Entry) -> None:
    text = (entry.directory / ENTRY).read_text()
    (entry.directory / ENTRY).write_text(text.replace(entry.key, "0" * 64))


damages = pytest.mark.parametrize(
    "damage",
    [
        _change,
        _delete,
        _truncate,
        _empty,
        _replace_with("null"),
        _replace_with("{}"),
        _replace_with('{"directory": "/"}'),
    ],
)


@damages
def test_a_damaged_entry_is_not_loaded(store: Store, damage: Callable[[Entry], None]) -> None:
    node = _node()
    damage(ensure_entry(node, store, QUIET))

    with pytest.raises(Damaged):
        _again(store).load(node)


@damages
def test_a_damaged_entry_is_set_aside_and_rebuilt(
    store: Store, damage: Callable[[Entry], None]
) -> None:
    node = _node()
    damage(ensure_entry(node, store, QUIET))

    rebuilt = ensure_entry(node, _again(store), QUIET)

    assert _again(store).load(node) == rebuilt
    assert (rebuilt.directory / "a.txt").read_text() == "a"
    assert len(list((store.root / "damaged").iterdir())) == 1


def test_the_damaged_file_and_where_it_went_are_named(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    node = _node()
    _change(ensure_entry(node, store, QUIET))

    ensure_entry(node, _again(store), Progress())

    said = capsys.readouterr().err.replace("\n", "")
    assert f"{store.directory(node) / 'a.txt'} has changed since it was written" in said
    assert f"Set aside in {store.root / 'damaged'}" in said


def test_an_entry_of_another_node_is_damage(store: Store) -> None:
    node = _node()
    _take_anothers(ensure_entry(node, store, QUIET))

    with pytest.raises(Damaged):
        _again(store).load(node)


def test_a_folder_without_an_entry_is_not_trusted_and_replaced(store: Store) -> None:
    node = _node()
    ensure_entry(node, store, QUIET)
    (store.directory(node) / ENTRY).unlink()
    (store.directory(node) / "a.txt").write_text("half")

    assert not _again(store).has(node)
    assert (ensure_entry(node, _again(store), QUIET).directory / "a.txt").read_text() == "a"


def test_what_a_build_left_behind_is_wiped_before_the_next(store: Store) -> None:
    node = _node()
    left = store.root / "tmp" / node.key / "half.txt"
    left.parent.mkdir(parents=True)
    left.write_text("half")

    entry = ensure_entry(node, store, QUIET)

    assert "half.txt" not in entry.files
    assert _below(store.root / "tmp") == []


def test_a_failed_build_leaves_no_result_and_keeps_its_checkpoints(store: Store) -> None:
    def fail(job: Job) -> None:
        (job.scratch / "step-7").write_text("checkpoint")
        raise RuntimeError("no")

    node = _node(fail)
    with pytest.raises(RuntimeError):
        ensure_entry(node, store, QUIET)

    assert not store.has(node)
    assert (store.scratch(node) / "step-7").read_text() == "checkpoint"


def test_a_finished_build_deletes_its_checkpoints(store: Store) -> None:
    def build(job: Job) -> None:
        (job.scratch / "step-7").write_text("checkpoint")
        _write(job)

    ensure_entry(_node(build), store, QUIET)

    assert _below(store.root / "scratch") == []


def test_json_is_written_in_full_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})

    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    monkeypatch.setattr(os, "fsync", _full_disk)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"a": 2})

    assert json.loads(path.read_text()) == {"a": 1}


def _full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("when", ["while building", "while committing"])
def test_a_full_disk_stops_the_run_and_says_what_to_do(
    store: Store, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    if when == "while committing":
        monkeypatch.setattr(store_module, "write_atomically", _full_disk)
    node = _node(_full_disk if when == "while building" else _write)

    with pytest.raises(UserError, match=r"disk of .* is full .* --store, then run again"):
        execute_stages([node, _node(x=1)], store, QUIET)

    assert not store.has(node)
    assert not store.has(_node(x=1))


def test_only_a_full_disk_is_explained_as_one(tmp_path: Path) -> None:
    assert explain_full_disk(PermissionError(errno.EACCES, "no"), tmp_path) is None
    assert explain_full_disk(OSError("without a number"), tmp_path) is None
    assert explain_full_disk(OSError(errno.EDQUOT, "quota"), tmp_path / "missing") is not None


class _Counted:
    """A build that counts its calls and takes long enough for others to come meanwhile."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, job: Job) -> None:
        self.calls += 1
        threading.Event().wait(0.1)
        _write(job)


class _Slow(Store):
    """A store in which damage is found by all before any can mend it."""

    def load(self, node: Node) -> Entry:
        try:
            return super().load(node)
        except Damaged:
            threading.Event().wait(0.1)
            raise


@pytest.mark.parametrize("damaged", [False, True])
def test_workers_that_need_the_same_result_make_it_once(store: Store, damaged: bool) -> None:
    if damaged:
        _change(ensure_entry(_node(), store, QUIET))
    build, failed = _Counted(), []

    def work() -> None:
        try:
            ensure_entry(_node(build), _Slow(store.root), QUIET)
        except Exception as error:
            failed.append(error)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert (failed, build.calls) == ([], 1)


MAKE = """
import os, signal, sys, time
from pathlib import Path
from draftmark.pipeline.executor import ensure_entry
from draftmark.store.graph import Node
from draftmark.progress import Progress
from draftmark.store.store import Store

def build(job):
    with Path(sys.argv[1], "made").open("a") as file:
        file.write("made\\n")
    (job.out / "a.txt").write_text("half")
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    (job.out / "a.txt").write_text("whole")

node = Node("stage", "a node", {}, {}, code=(), build=build)
ensure_entry(node, Store(Path(sys.argv[1])), Progress(quiet=True))
"""


def _start(store: Store, how: str) -> subprocess.Popen[bytes]:
    store.root.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", MAKE, str(store.root), how], cwd=ROOT)


def test_processes_that_need_the_same_result_make_it_once(store: Store) -> None:
    running = [_start(store, "finish") for _ in range(2)]

    assert [process.wait(timeout=60) for process in running] == [0, 0]
    assert (store.root / "made").read_text() == "made\n"
    assert store.load(_node()).files.keys() == {"a.txt"}


def test_a_killed_process_leaves_nothing_that_counts_as_a_result(store: Store) -> None:
    assert _start(store, "die").wait(timeout=60) == -signal.SIGKILL
    assert not store.has(_node())

    assert _start(store, "finish").wait(timeout=60) == 0
    assert (store.load(_node()).directory / "a.txt").read_text() == "whole"
