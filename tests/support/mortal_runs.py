"""Killed runs: this script starts a run repeatedly and ends it by SIGKILL.

The moment is drawn as a number of file changes, not by the clock, plus a short delay: the kill
lands mid-operation however busy the machine is.

The script forks, so that a run costs no imports, and is a subreaper: a process that outlives its
run becomes a child of the script and is found.

    python mortal_runs.py graph|recipe FOLDER KILLS SEED JOBS

prints as JSON the kills, the finished runs, the orphans and the damaged entries. With several jobs
the changes are those that the script sees in the store, as other processes make them.
"""

import ctypes
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from draftmark.grading.isolation import bubblewrap
from draftmark.grading.sandbox import Program, Sandbox
from draftmark.pipeline.executor import Executor, execute_stages
from draftmark.pipeline.jobs.executor import execute_with_jobs
from draftmark.progress import Progress
from draftmark.store import garbage_collection
from draftmark.store.graph import Job, Node
from draftmark.store.run_locks import lock_run
from draftmark.store.store import Store

QUIET = Progress(quiet=True)
RECIPE = """
title = "a small run"
tasks = ["gsm8k"]
threads = 1
[data]
sources = ["samples"]
train_rows = 8
validation_rows = 2
test_rows = 4
[[pairs]]
name = "tiny"
target = "tiny-target"
draft = { pruned = [0, 7] }
[training]
rows_per_batch = 4
[[methods]]
name = "kd"
[evaluation]
temperatures = [0]
max_new_tokens = 24
[speed]
blocks = 2
prompts_per_block = 1
"""
STAGES, PIECES, PIECE_BYTES = 60, 6, 8192
_PR_SET_CHILD_SUBREAPER = 36
_ORPHANS_END_S = 10.0


def graph(isolates: bool) -> list[Node]:
    """Return many small stages; each reads two earlier ones, checkpoints, and writes in pieces.

    If programs can be isolated, some stages run one in the sandbox.
    """
    nodes: list[Node] = []
    for number in range(STAGES):
        inputs = {str(n): nodes[n] for n in {number // 2, number // 3} if number}
        build = _build(number, isolates and number % 8 == 1)
        nodes.append(Node(f"kind{number % 4}", f"{number}", {"n": number}, inputs, (), build))
    return nodes


def _build(number: int, runs_program: bool) -> Callable[[Job], None]:
    def build(job: Job) -> None:
        read = [path.read_bytes() for place in job.inputs.values() for path in place.glob("*.bin")]
        state = hashlib.sha256(b"".join(sorted(read)) + bytes([number])).digest()
        if runs_program:
            state += Sandbox().run(Program("import time; time.sleep(0.02)")).status.encode()
        for piece in range(PIECES):
            kept = job.scratch / f"{piece}.bin"
            if not kept.exists():  # checkpoints are written as trainings write them
                half = job.scratch / "writing"
                half.write_bytes(hashlib.shake_256(state + bytes([piece])).digest(PIECE_BYTES))
                half.replace(kept)
            with (job.out / f"{piece % 2}.bin").open("ab") as file:
                file.write(kept.read_bytes())

    return build


def executor(jobs: int) -> Executor:
    """Return the executor of a number of processes."""
    if jobs == 1:
        return execute_stages
    return partial(execute_with_jobs, jobs=jobs, needs={}, memory_bytes=1e12)


def _live_in_graph(folder: Path, jobs: int) -> None:
    store = Store(folder / "store")
    nodes = graph(bubblewrap.why_unavailable() is None)
    with lock_run(store, folder / "graph-00000000", nodes):
        assert executor(jobs)(nodes, store, QUIET) == {}


def _live_in_recipe(folder: Path, jobs: int) -> None:
    from draftmark.pipeline.publish import RunOptions, run_recipe
    from draftmark.pipeline.recipe_files import load_recipe

    recipe = load_recipe(str(folder.parent / "small.toml"))
    run_recipe(recipe, "small", RunOptions(folder, jobs=jobs))


def _fork(live: Callable[[], None], changes: int = 0) -> tuple[int, int]:
    """Start a run; return its process id, and a pipe written after `changes` file changes."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.addaudithook(_notify_after(writer, changes))
        live()
        code = 0
    finally:
        os._exit(code)


def _notify_after(writer: int, changes: int) -> Callable[[str, tuple[Any, ...]], None]:
    left = changes

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or event in ("os.rename", "os.mkdir", "os.rmdir", "os.remove"):
            left -= 1
            if left == 0:
                os.write(writer, b"!")

    return audit


def _wait_for_changes(store: Path, child: int, changes: int) -> None:
    """Return when a store has so many new paths, or when the run has ended."""
    before = _paths(store)
    seen = set(before)
    while len(seen) - len(before) < changes and not os.waitid(
        os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
    ):
        time.sleep(0.01)
        seen |= _paths(store)


def _paths(folder: Path) -> set[str]:
    """Return every path below a folder, which may change meanwhile."""
    walk = os.walk(folder)  # skips folders that are gone
    return {f"{top}/{name}" for top, folders, files in walk for name in (*folders, *files)}


def _reap(child: int) -> tuple[bool, int]:
    """Wait for a run and its children; return True if it finished, and the number of orphans."""
    finished, deadline = False, time.monotonic() + _ORPHANS_END_S
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return finished, 0
        if pid == child:
            finished = not os.WIFSIGNALED(status)
            assert not finished or os.WEXITSTATUS(status) == 0, "a run failed"
        elif not pid and time.monotonic() > deadline:
            return finished, 1
        time.sleep(0.001)


def main(kind: str, folder: Path, kills: int, seed: int, jobs: int) -> dict[str, int]:
    """Kill `kills` runs at random moments, then let one finish."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    live, changes, late_s = (_live_in_graph, 120, 0.005)
    if kind == "recipe":
        import draftmark.engines.reference  # noqa: F401  # import before the first fork: it takes seconds

        live, changes, late_s = _live_in_recipe, 60, 0.1
    draw = random.Random(seed)
    found = {"kills": 0, "finished": 0, "orphans": 0, "damaged": 0}
    moments, place = set(), folder
    while found["kills"] < kills:
        place = folder / str(found["finished"])  # a new folder after each finished run
        place.mkdir(exist_ok=True)
        moment = draw.randint(1, changes)
        child, reader = _fork(partial(live, place, jobs), moment if jobs == 1 else 0)
        if jobs == 1:
            os.read(reader, 1)
        else:
            _wait_for_changes(place / "store", child, moment)
        time.sleep(draw.uniform(0, late_s))
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        finished, orphans = _reap(child)
        found["orphans"] += orphans
        found["finished" if finished else "kills"] += 1
        store = Store(place / "store")
        moments.add((found["finished"], len(list(store.root.glob("*/*/entry.json")))))
        if store.root.exists():  # else the run was killed before it had a store
            found["damaged"] += sum(
                bool(wrong) for _, wrong in garbage_collection.verify_store(store)
            )
    _reap(_fork(partial(live, place, jobs))[0])
    return found | {"moments": len(moments)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))))
