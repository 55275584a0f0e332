"""A read-only file system: what only reads works, and what writes says so in a sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from stored_runs import run_of

from draftmark.cli import gate
from draftmark.pipeline.executor import execute_stages
from draftmark.pipeline.publish import track_run
from draftmark.progress import Progress
from draftmark.store.graph import Job, Node
from draftmark.store.run_locks import lock_run
from draftmark.store.store import Store

OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]
RUN = "results/mine-01234567"
READS = [
    ["list"],
    ["status", RUN],
    ["status"],
    ["store", "ls", "--store", "results/store"],
    ["store", "verify", "--store", "results/store"],
    ["store", "gc", "--dry-run", "--store", "results/store"],
    ["power", RUN],
    ["plan", "quickstart"],
]
ELSEWHERE = [
    ["gate", RUN, "--against", "f.json", "--out"],
    ["trend", "results", "--out"],
    ["site", "results", "--out"],
]
WRITES = [
    ["report", RUN],
    ["gate", RUN, "--against", "f.json"],
    ["bless", RUN, "f.json", "--reason", "x"],
    ["trend", "results"],
    ["site", "results"],
    ["store", "gc", "--store", "results/store"],
]


def _build(job: Job) -> None:
    (job.out / "text").write_text("x")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a run, its store and accepted numbers."""
    folder = tmp_path / "read-only"
    run_of(folder / RUN, {"kd": [(0.5, 0.6, 0.7)]})
    store = Store(folder / "results" / "store")
    nodes = [Node("stage", "one", {"n": 1}, {}, code=(), build=_build)]
    with (
        lock_run(store, folder / RUN, nodes),
        track_run(store, "mine-01234567", "a title", nodes) as (journal, stop),
    ):
        execute_stages(nodes, store, Progress(quiet=True), journal=journal, stop=stop)
    gate.bless(folder / RUN, folder / "f.json", reason="first")
    return folder


def test_what_only_reads_works_and_what_writes_says_so(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    elsewhere = [[*command, str(out / command[0])] for command in ELSEWHERE]
    commands = [*READS, *elsewhere, *WRITES]
    script = [sys.executable, str(ROOT / "tests" / "support" / "read_only.py")]
    done = subprocess.run(
        [*OWN_MOUNTS, *script, str(folder), json.dumps(commands)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(out)},
        capture_output=True,
        text=True,
    )
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"no read-only mount to be had: {done.stderr.strip()}")

    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    for command, (code, last) in zip(commands, outcomes, strict=True):
        if command in WRITES:
            assert code == 2, (command, last)
            assert last.startswith("draftmark: "), command
            assert "Read-only file system" in last or "Cannot write to" in last, (command, last)
        else:
            assert code == 0, (command, last)
