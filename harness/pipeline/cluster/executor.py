"""The executor of a Ray cluster: each stage is a Ray task, on any machine.

Results pass between stages through the folder of the store, which all machines share, never through
Ray. So a stage whose worker or machine dies is run again, and finished results are kept.
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
from draftmark.pipeline.executor import Failure, failed_input
from draftmark.pipeline.journal import NO_JOURNAL, Journal
from draftmark.pipeline.planning.schedule import StageRun, longest_chain_s
from draftmark.pipeline.stopping import NO_STOP, Stop, Stopped
from draftmark.progress import Progress
from draftmark.store.graph import Node, topological_order
from draftmark.store.store import Store

LOCAL = "local"
_REACH_S = 10.0


def execute_on_cluster(
    nodes: Iterable[Node],
    store: Store,
    progress: Progress,
    *,
    address: str,
    needs: Mapping[str, Needs],
    threads: int | None = None,
    journal: Journal = NO_JOURNAL,
    stop: Stop = NO_STOP,
) -> dict[str, Failure]:
    """Make every missing result on a cluster; return the failures by node key.

    Raises UserError if Ray is not installed, the cluster cannot be joined or cannot run a stage.
    Raises Stopped if a stop was requested.
    """
    order = {node.key: node for node in topological_order(nodes)}
    missing = store.missing(order.values())
    if not missing:
        return {}
    with connect_ray(address) as ray:
        if address != LOCAL:
            store.share()
        versions = {key: node.versions for key, node in order.items()}
        root = store.root.resolve()
        context = WorkerContext(order, versions, root, threads, journal, stop.flag)
        fleet = Fleet(ray, context, needs)
        fleet.check()
        progress.say(f"{len(missing)} stages on {fleet.describe()}.")
        return _run_stages(missing, fleet, progress, journal, stop)


def _run_stages(
    missing: Mapping[str, Node],
    fleet: Fleet,
    progress: Progress,
    journal: Journal,
    stop: Stop,
) -> dict[str, Failure]:
    """Start every stage once its inputs are made, by priority; return the failures."""
    priority, waiting = _priorities(missing, fleet.needs), dict(missing)
    failures: dict[str, Failure] = {}
    running: dict[Any, Node] = {}
    while waiting or running:
        ready = [] if stop.requested else _ready(waiting, running.values(), failures, journal)
        for node in sorted(ready, key=lambda node: -priority[node.key]):
            running[fleet.start(node)] = waiting.pop(node.key)
        if stop.requested and not running:
            raise Stopped
        for ref in fleet.finished(list(running)):
            node = running.pop(ref)
            outcome = fleet.outcome(ref, node)
            if outcome.fatal:
                raise UserError(outcome.fatal)
            if outcome.not_started:
                waiting[node.key] = node
            elif outcome.failure:
                failures[node.key] = outcome.failure
                progress.say(f"FAILED {node.label}: {outcome.failure.reason}")
            else:
                progress.say(f"{node.stage}: {node.label}: {outcome.seconds:.1f} s, {outcome.host}")
    return failures


def _priorities(nodes: Mapping[str, Node], needs: Mapping[str, Needs]) -> dict[str, float]:
    """Return the seconds of each stage plus those of the longest chain that waits for it."""
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
    """Return the stages whose inputs are made; move stages with a failed input to `failures`."""
    unmade, ready = {node.key for node in running}, []
    for key, node in list(waiting.items()):  # inputs first
        if failure := failed_input(node, failures, journal):
            failures[key] = failure
            del waiting[key]
        elif not any(item.key in unmade for item in node.inputs.values()):
            ready.append(node)
        unmade.add(key)
    return ready


def require_ray() -> None:
    """Raise UserError with the install command if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            f"--cluster needs Ray, which is not installed; run `{install_hint('ray')}`."
        )


@contextmanager
def connect_ray(address: str) -> Iterator[ModuleType]:
    """Yield Ray, connected to a cluster; a "local" one runs as long as the block.

    Raises UserError if Ray is not installed, or if there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray sends no usage statistics
    if address == LOCAL:  # listen on this machine's loopback address only
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    require_ray()
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
    """Raise UserError if nothing listens at HOST:PORT; Ray would retry for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):
        return  # "local" or "auto", which Ray resolves
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> UserError:
    reason = str(error).partition("\n")[0]
    return UserError(
        f"There is no Ray cluster at {address!r} to join ({reason}); start one with "
        "`ray start --head`, or use --cluster local."
    )
