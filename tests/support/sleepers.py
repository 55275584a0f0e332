"""A process that runs stages that sleep: for tests of signals, and to time the executor.

Its exit code on Ctrl-C is the command line's.

    python -m tests.support.sleepers FOLDER --chains 10 --length 3 --seconds 0.3 --jobs 2

`--cluster ADDRESS` runs them on Ray instead.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from draftmark.pipeline import executor
from draftmark.pipeline.cluster import executor as cluster_executor
from draftmark.pipeline.jobs import executor as jobs_executor
from draftmark.pipeline.publish import track_run
from draftmark.pipeline.stopping import Stopped
from draftmark.progress import Progress
from draftmark.store.graph import Job, Node, topological_order
from draftmark.store.store import Store

RUN = "sleep"


def chain(number: int, length: int, seconds: float) -> Node:
    """Return the last node of a chain of stages that sleep."""

    def build(job: Job) -> None:
        for name, path in job.inputs.items():
            (job.out / name).write_bytes((path / "slept").read_bytes())
        with job.progress.step("sleeping", 2) as step:
            for _ in range(2):
                time.sleep(seconds / 2)
                step.advance()
        (job.out / "slept").write_text(f"{number}")

    node: Node | None = None
    for depth in range(length):
        inputs = {"before": node} if node else {}
        settings = {"number": number, "depth": depth}
        node = Node("sleep", f"sleep {number}, {depth}", settings, inputs, (), build)
    assert node is not None
    return node


def _executor(jobs: int, cluster: str | None) -> executor.Executor:
    if cluster:
        return partial(cluster_executor.execute_on_cluster, address=cluster, needs={})
    if jobs > 1:
        return partial(jobs_executor.execute_with_jobs, jobs=jobs, needs={}, memory_bytes=1e12)
    return executor.execute_stages


def main() -> None:
    """Run the chains and print the seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chains", type=int, default=10)
    parser.add_argument("--length", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--cluster")
    arguments = parser.parse_args()
    nodes = [
        chain(number, arguments.length, arguments.seconds) for number in range(arguments.chains)
    ]
    store = Store(arguments.folder / "store")
    try:
        with track_run(store, RUN, "sleepers", topological_order(nodes)) as (journal, stop):
            execute = _executor(arguments.jobs, arguments.cluster)
            started = time.perf_counter()
            failures = execute(nodes, store, Progress(quiet=True), journal=journal, stop=stop)
    except Stopped as stopped:
        print(stopped)
        sys.exit(130)
    print(f"{time.perf_counter() - started:.2f} s, {len(failures)} failures")


if __name__ == "__main__":
    main()
