"""The executor of several processes: independent stages run beside each other on this machine."""

from collections.abc import Iterable, Mapping

from draftmark.pipeline.executor import Failure
from draftmark.pipeline.jobs.pool import Pool
from draftmark.pipeline.journal import NO_JOURNAL, Journal
from draftmark.pipeline.planning.needs import Needs
from draftmark.pipeline.scheduler import run_stages, unmade_stages
from draftmark.pipeline.stage_worker import WorkerContext
from draftmark.pipeline.stopping import NO_STOP, Stop
from draftmark.progress import Progress
from draftmark.store.graph import Node, topological_order
from draftmark.store.store import Store


def execute_with_jobs(
    nodes: Iterable[Node],
    store: Store,
    progress: Progress,
    *,
    jobs: int,
    needs: Mapping[str, Needs],
    memory_bytes: float,
    threads: int | None = None,
    journal: Journal = NO_JOURNAL,
    stop: Stop = NO_STOP,
) -> dict[str, Failure]:
    """Make every missing result with `jobs` processes; return the failures by node key.

    Each process computes with `threads` CPU threads, so results do not depend on `jobs`. Raises
    UserError if the disk is full. Raises Stopped if a stop was requested and a result is missing.
    """
    order = {node.key: node for node in topological_order(nodes)}
    unmade = unmade_stages(order.values(), store)
    if not unmade:
        return {}
    context = WorkerContext(order, store.root, threads, journal, stop.flag)
    with Pool(context, jobs, needs, memory_bytes, progress) as pool:
        return run_stages(unmade, needs, pool, journal, stop)
