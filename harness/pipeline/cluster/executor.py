"""Runs the graph on a Ray cluster: each stage is a task of a worker, on whatever machine.

The workers share the folder of the store: a result reaches the next stage through it, never through
Ray. So a stage whose worker or machine dies is simply run again, and what was finished is kept.
"""

import importlib.util
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from draftmark.environment import install_hint
from draftmark.errors import UserError
from draftmark.pipeline.cluster.fleet import Fleet
from draftmark.pipeline.cluster.needs import Needs
from draftmark.pipeline.cluster.workers import WorkerContext
from draftmark.pipeline.executor import Failure, blocked
from draftmark.pipeline.journal import UNHEARD, Journal
from draftmark.pipeline.planning.schedule import StageRun, longest_chain_s
from draftmark.pipeline.stopping import NEVER, Stop, Stopped
from draftmark.progress import Progress
from draftmark.store.graph import Node, topological
from draftmark.store.store import Store

LOCAL = "local"
_REACH_S = 10.0


def execute(
    nodes: Iterable[Node],
    store: Store,
    progress: Progress,
    *,
    address: str,
    needs: Mapping[str, Needs],
    threads: int | None = None,
    journal: Journal = UNHEARD,
    stop: Stop = NEVER,
) -> dict[str, Failure]:
    """Make every missing result on a cluster; return the failures by node key, as in `fanout`.

    Raises UserError if Ray or the cluster is not to be had, or cannot run a stage at all.
    """
    order = {node.key: node for node in topological(nodes)}
    missing = store.missing(order.values())
    if not missing:
        return {}
    with connected(address) as ray:
        if address != LOCAL:
            store.share()
        told = WorkerContext.of(order, store, threads, journal, stop)
        fleet = Fleet(ray, told, needs)
        fleet.check()
        progress.say(f"On {fleet.describe()}: {len(missing)} stages.")
        return _conduct(missing, fleet, progress, journal, stop)


def _conduct(
    missing: Mapping[str, Node],
    fleet: Fleet,
    progress: Progress,
    journal: Journal,
    stop: Stop,
) -> dict[str, Failure]:
    """Hand out every stage when its inputs are made, the most urgent first."""
    rank, waiting = _urgency(missing, fleet.needs), dict(missing)
    failures: dict[str, Failure] = {}
    running: dict[Any, Node] = {}
    while waiting or running:
        ready = [] if stop.asked else _ready(waiting, running.values(), failures, journal)
        for node in sorted(ready, key=lambda node: -rank[node.key]):
            running[fleet.start(node)] = waiting.pop(node.key)
        if stop.asked and not running:
            raise Stopped
        for ref in fleet.finished(list(running)):
            node = running.pop(ref)
            outcome = fleet.outcome(ref, node)
            if outcome.fatal:
                raise UserError(outcome.fatal)
            if outcome.left:
                waiting[node.key] = node
            elif outcome.failure:
                failures[node.key] = outcome.failure
                progress.say(f"FAILED {node.label}: {outcome.failure.reason}")
            else:
                progress.say(f"{node.stage}: {node.label}: {outcome.seconds:.1f} s, {outcome.host}")
    return failures


def _urgency(nodes: Mapping[str, Node], needs: Mapping[str, Needs]) -> dict[str, float]:
    """Return how long the longest chain of stages is that waits for each."""
    works = {}
    for key, node in nodes.items():
        inputs = tuple(upstream.key for upstream in node.inputs.values())
        works[key] = StageRun(needs[key].seconds if key in needs else 0.0, 1, inputs)
    return longest_chain_s(works)


def _ready(
    waiting: dict[str, Node],
    running: Iterable[Node],
    failures: dict[str, Failure],
    journal: Journal,
) -> list[Node]:
    """Return what can begin; what needs something that failed is itself moved to the failures."""
    unmade, ready = {node.key for node in running}, []
    for key, node in list(waiting.items()):  # inputs before what needs them
        if failure := blocked(node, failures, journal):
            failures[key] = failure
            del waiting[key]
        elif not any(item.key in unmade for item in node.inputs.values()):
            ready.append(node)
        unmade.add(key)
    return ready


def require() -> None:
    """Raise UserError with the command that installs Ray, if it is not here."""
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            f"--cluster needs Ray, which is not installed; run `{install_hint('ray')}`."
        )


@contextmanager
def connected(address: str) -> Iterator[ModuleType]:
    """Give Ray, connected to a cluster: one started here for the block, or that of an address.

    Raises UserError if Ray is not installed, or if there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told what is run here
    if address == LOCAL:  # it listens to this machine alone, as Ray has it elsewhere than on Linux
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    require()
    import ray

    _reach(address)
    options = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, error) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raise UserError if nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):
        return  # "local", or "auto": Ray knows
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> UserError:
    reason = str(error).partition("\n")[0]
    return UserError(
        f"There is no Ray cluster at {address!r} that can be joined ({reason}); start one with "
        "`ray start --head`, or take --cluster local."
    )
