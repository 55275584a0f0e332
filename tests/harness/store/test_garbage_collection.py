"""The store looked after: what it says of itself, what it finds damaged, what it lets go."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from places import ROOT
from stored_runs import run_of

from draftmark.cli import main
from draftmark.errors import UserError
from draftmark.pipeline.executor import ensure_entry, execute_stages
from draftmark.pipeline.publish import track_run
from draftmark.progress import Progress
from draftmark.store import garbage_collection
from draftmark.store.graph import Job, Node
from draftmark.store.run_folder import save_results
from draftmark.store.run_locks import lock_run
from draftmark.store.store import Store

QUIET = Progress(quiet=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results" / "store")


def _write(job: Job) -> None:
    (job.out / "a.bin").write_bytes(bytes(1000))


def _node(label: str, **inputs: Node) -> Node:
    return Node("stage", label, {"label": label}, inputs, code=(), build=_write)


def _made(store: Store, *labels: str) -> list[Node]:
    """Make results one after the other: the first was used longest ago."""
    nodes = [_node(label) for label in labels]
    execute_stages(nodes, store, QUIET)
    for age, node in enumerate(reversed(nodes), start=1):
        _last_used(store, node, hours=age)
    return nodes


def _last_used(store: Store, node: Node, *, hours: float) -> None:
    for path in store.directory(node).iterdir():
        os.utime(path, (time.time() - 3600 * hours,) * 2)


def _run(store: Store, name: str, *nodes: Node, stored: bool = True) -> Path:
    """Leave a store as a run leaves it that is over, with its results or without."""
    directory = store.root.parent / name
    with lock_run(store, directory, nodes):
        execute_stages(nodes, store, QUIET)
    if stored:
        run_of(directory, {"kd": [(0.5, 0.6)]})
    return directory


def _left(store: Store) -> set[str]:
    return {item.label for item in garbage_collection.stored_results(store)}


def draftmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["draftmark", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main.main()
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out + said.err


def test_every_result_is_listed_with_size_ages_and_what_it_is_for(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lone, needed = _made(store, "lone", "needed")
    _run(store, "mine-01234567", needed)
    _last_used(store, lone, hours=49)

    code, said = draftmark(monkeypatch, capsys, "store", "ls", "--store", store.root)

    of_lone, of_needed = (
        next(line for line in said.splitlines() if f"  {label}: " in line)
        for label in ("lone", "needed")
    )
    assert code == 0
    assert of_lone.startswith("  stage")
    assert "2 d" in of_lone
    assert of_lone.endswith("no known run")
    assert of_needed.startswith("* stage")
    assert of_needed.endswith("mine-01234567")
    sizes = {item.label: item.num_bytes for item in garbage_collection.stored_results(store)}
    assert sizes["lone"] == sum(p.stat().st_size for p in store.directory(lone).iterdir())
    assert "2 results" in said


def test_verify_names_what_is_damaged_sets_it_aside_and_the_next_run_makes_it_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, damaged = _made(store, "whole", "damaged")
    path = store.directory(damaged) / "a.bin"
    path.write_bytes(bytes(999) + b"\x01")
    command = ("store", "verify", "--store", store.root)

    code, said = draftmark(monkeypatch, capsys, *command)

    assert code == 1
    assert f"Damaged: {path} has changed since it was written" in said
    assert "2 results" in said
    assert (Store(store.root).has(whole), Store(store.root).has(damaged)) == (True, False)
    ensure_entry(damaged, Store(store.root), QUIET)
    code, said = draftmark(monkeypatch, capsys, *command)
    assert (code, "0 damaged" in said) == (0, True)


def test_without_a_limit_only_what_was_left_behind_goes(store: Store) -> None:
    (node,) = _made(store, "a result")
    unfinished = _node("unfinished")
    (store.scratch(unfinished) / "step-7").write_text("checkpoint")
    leftovers = [
        store.scratch(node) / "step-1",  # of what is finished
        store.new_directory(unfinished) / "half",  # of a run that was killed
        store.root / "damaged" / "stage-0" / "entry" / "a.bin",
        store.root / "stage" / ("0" * 64) / "a.bin",  # a folder without an entry
    ]
    for path in leftovers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(10))
    before = garbage_collection.folder_size(store.root)

    assert garbage_collection.collect_garbage(store, dry=True).freed == 40
    assert all(path.exists() for path in leftovers)
    done = garbage_collection.collect_garbage(store)

    assert done.freed == 40
    assert done.num_bytes == before - 40 == garbage_collection.folder_size(store.root)
    assert not any(path.exists() for path in leftovers)
    assert Store(store.root).load(node)
    assert (store.scratch(unfinished) / "step-7").exists()


def test_above_the_limit_what_was_used_longest_ago_goes_first_until_it_is_kept(
    store: Store,
) -> None:
    _made(store, "oldest", "older", "newest")
    size = min(
        item.num_bytes for item in garbage_collection.stored_results(store)
    )  # a digit more or less of seconds

    garbage_collection.collect_garbage(store, garbage_collection.folder_size(store.root) - size)
    assert _left(store) == {"older", "newest"}
    garbage_collection.collect_garbage(store, 0)
    assert _left(store) == set()


def test_to_be_loaded_is_to_be_used(store: Store) -> None:
    first, _ = _made(store, "first", "second")
    Store(store.root).load(first)

    garbage_collection.collect_garbage(store, garbage_collection.folder_size(store.root) - 1)

    assert _left(store) == {"first"}


def test_what_a_stored_run_needs_stays_with_all_that_it_was_made_of(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _node("first")
    last = _node("last", input=first)
    directory = _run(store, "mine-01234567", last)
    _run(store, "interrupted-01234567", _node("of an interrupted run"), stored=False)
    _made(store, "of no run")
    command = ("store", "gc", "--keep-under", "1B", "--store", store.root)

    code, said = draftmark(monkeypatch, capsys, *command)

    assert _left(store) == {"first", "last"}
    assert code == 1
    assert "that is above 1B: stored and running runs" in said
    (directory / "results.json").unlink()
    assert draftmark(monkeypatch, capsys, *command)[0] == 0
    assert _left(store) == set()


ENTRY_FACTS = {"stage": "draft", "label": "a draft", "manifest": {}}


def test_a_run_from_before_runs_were_noted_keeps_what_its_results_name(store: Store) -> None:
    first = _node("first")
    last = _node("last", input=first)
    execute_stages([last, _node("other")], store, QUIET)
    directory = store.root.parent / "old-01234567"
    results = run_of(directory, {"kd": [(0.5, 0.6)]})
    row = replace(results.results[0], provenance={"entries": [{**ENTRY_FACTS, "key": last.key}]})
    save_results(replace(results, results=(row,)), directory)

    garbage_collection.collect_garbage(store, 0)

    assert _left(store) == {"first", "last"}


def test_a_folder_of_results_that_moves_with_its_store_keeps_what_it_needs(store: Store) -> None:
    _run(store, "mine-01234567", _node("needed"))
    moved = store.root.parent.rename(store.root.parent.with_name("elsewhere"))

    garbage_collection.collect_garbage(Store(moved / "store"), 0)

    assert _left(Store(moved / "store")) == {"needed"}


RUN = """
import sys, time
from pathlib import Path
from draftmark.pipeline.executor import execute_stages
from draftmark.store.graph import Node
from draftmark.progress import Progress
from draftmark.store.run_locks import lock_run
from draftmark.store.run_folder import save_results
from draftmark.store.store import Store

def build(job):
    (job.out / "a.bin").write_bytes(bytes(1000))
    print(job.out.name, flush=True)
    if sys.argv[2] == "making":
        time.sleep(60)

store = Store(Path(sys.argv[1]))
node = Node("stage", "of a run", {"label": "of a run"}, {}, code=(), build=build)
with lock_run(store, store.root.parent / "mine-01234567", [node]):
    execute_stages([node], store, Progress(quiet=True))
    print("done", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("when", ["making", "made"])
def test_nothing_is_taken_from_a_run_under_way_until_it_is_dead(store: Store, when: str) -> None:
    command = [sys.executable, "-c", RUN, str(store.root), when]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert running.stdout
    running.stdout.readline()
    if when == "made":
        running.stdout.readline()

    assert garbage_collection.collect_garbage(store, 0).gone == ()
    running.kill()
    running.wait()
    running.stdout.close()
    gone = garbage_collection.collect_garbage(store, 0).gone

    assert [item.directory.parent.name for item in gone if item.num_bytes] == [
        "tmp" if when == "making" else "stage"
    ]


def test_a_link_is_taken_away_and_not_followed(store: Store, tmp_path: Path) -> None:
    _made(store, "a result")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("all of it")
    for place in ("damaged/x", "tmp/" + "1" * 64, "stage/" + "2" * 64, "scratch/" + "3" * 64):
        (store.root / place).parent.mkdir(exist_ok=True)
        (store.root / place).symlink_to(tmp_path / "precious")

    garbage_collection.collect_garbage(store, 0)

    assert (tmp_path / "precious" / "thesis.tex").read_text() == "all of it"


def test_an_odd_file_among_what_was_left_behind_is_deleted(store: Store) -> None:
    _made(store, "a result")
    for folder in ("tmp", "damaged"):
        (store.root / folder).mkdir(exist_ok=True)
        (store.root / folder / "file").write_text("x")
        os.mkfifo(store.root / folder / "fifo")

    assert len(garbage_collection.collect_garbage(store).gone) == 4
    assert not [*store.root.glob("tmp/*"), *store.root.glob("damaged/*")]


@pytest.mark.parametrize("place", ["tmp", "scratch", "damaged", "locks", "runs", "runs/x", "stage"])
def test_nothing_is_deleted_in_a_folder_that_a_link_in_the_store_leads_to(
    store: Store, tmp_path: Path, place: str
) -> None:
    _made(store, "a result")
    precious = tmp_path / "precious"
    for name in ("a", "2024-12", "1" * 64, "x/2024-12"):
        (precious / name).mkdir(parents=True)
    (precious / "poetry.lock").write_text("all of it")
    before = {*precious.rglob("*")}
    link = store.root / place
    shutil.rmtree(link, ignore_errors=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(precious)

    with pytest.raises(UserError, match=f"{place} is a link, and nothing is deleted through one"):
        garbage_collection.collect_garbage(store, 0)

    assert {*precious.rglob("*")} == before


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GB", 20 * 10**9), ("1.5 tb", 1.5 * 10**12), ("0", 0), ("10kB", 10**4), ("7 b", 7)],
)
def test_sizes_are_in_powers_of_1000(text: str, size: int) -> None:
    assert garbage_collection.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "20 gibibytes", "1e9", "nan", "2 0GB", "٢GB"])
def test_what_is_no_size_is_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match="is not a size; give one like 500MB or 20GB"):
        garbage_collection.parse_size(text)


@pytest.mark.parametrize(
    "work",
    [
        garbage_collection.stored_results,
        garbage_collection.collect_garbage,
        lambda s: list(garbage_collection.verify_store(s)),
    ],
)
def test_a_store_that_is_not_there_is_one_sentence(
    tmp_path: Path, work: Callable[[Store], Any]
) -> None:
    with pytest.raises(UserError, match="There is no store"):
        work(Store(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "odd",
    [
        '{"version": 0, "rows": [], "keys": ["KEY"]}',  # of another version
        '{"results": [{"entries": ["KEY"]',  # cut
        '["KEY", ' + "[" * 5000,
        "KEY \x00\xff",
    ],
)
def test_an_odd_folder_beside_the_store_is_passed_by_with_a_line_and_keeps_what_it_names(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    odd: str,
) -> None:
    named = _node("named")
    execute_stages([named, _node("other")], store, QUIET)
    for name in ("odd", "folder"):
        (store.root.parent / name).mkdir()
    (store.root.parent / "odd" / "results.json").write_bytes(
        odd.replace("KEY", named.key).encode("latin-1")
    )
    (store.root.parent / "folder" / "results.json").mkdir()

    for command in (["ls"], ["verify"], ["gc", "--keep-under", "0B"]):
        monkeypatch.setattr(
            sys, "argv", ["draftmark", "store", *command, "--store", str(store.root)]
        )
        with pytest.raises(SystemExit) as stop:
            main.main()
        assert stop.value.code in ((1,) if "gc" in command else (0, None))
        err = capsys.readouterr().err
        assert "draftmark: Passed by: " in err
        assert "odd" in err
        assert "Traceback" not in err

    assert _left(store) == {"named"}


def test_a_note_of_a_run_that_does_not_read_stops_the_collector(store: Store) -> None:
    _run(store, "mine-01234567", _node("needed"))
    (note,) = (store.root / "holds").iterdir()
    note.write_text(note.read_text()[:40])

    with pytest.raises(UserError, match=r"mine-01234567.*\.json cannot be read"):
        garbage_collection.collect_garbage(store, 0)
    assert store.has(_node("needed"))


def test_journals_and_locks_that_no_run_needs_are_deleted(store: Store) -> None:
    kept, gone = _node("kept"), _node("gone")
    for _ in range(2):
        with track_run(store, "kept", "a title", [kept]):
            _run(store, "kept", kept)
    with track_run(store, "gone", "a title", [gone]):
        _run(store, "gone", gone, stored=False)
    journals = sorted((store.root / "runs" / "kept").iterdir())
    locks = {path.name for path in (store.root / "locks").iterdir()}

    would = garbage_collection.collect_garbage(store, dry=True)
    assert len(journals) == 2
    assert {f"{kept.key}.lock", f"{gone.key}.lock"} <= locks
    assert sorted(path.parent.name for path in would.left) == ["gone", "holds", "kept"]
    assert {path.name for path in (store.root / "locks").iterdir()} == locks

    done = garbage_collection.collect_garbage(store)

    assert done.left == would.left
    assert [path.name for path in (store.root / "runs").iterdir()] == ["kept"]
    assert list((store.root / "runs" / "kept").iterdir()) == journals[1:]
    assert [path.name.split("-")[0] for path in (store.root / "holds").iterdir()] == ["kept"]
    assert {path.name for path in (store.root / "locks").iterdir()} <= {"holds.lock"}
    assert store.has(kept)
    assert not garbage_collection.collect_garbage(store).left


def test_what_a_running_process_holds_is_not_deleted(store: Store) -> None:
    node = _node("running")
    with (
        track_run(store, "run", "a title", [node]) as (journal, _),
        lock_run(store, store.root.parent / "run", [node]),
        store.lock(node.key),
    ):
        assert not garbage_collection.collect_garbage(store).left
        assert (store.root / "locks" / f"{node.key}.lock").exists()
        assert journal.folder is not None
        journal.record("start", key=node.key)
    with track_run(store, "unheld", "a title", [node]):
        assert all(path.parent.name != "unheld" for path in _leftovers(store))
    assert any(path.parent.name == "unheld" for path in _leftovers(store))


def _leftovers(store: Store) -> tuple[Path, ...]:
    return garbage_collection.collect_garbage(store, dry=True).left
