"""The executor of a Ray cluster: each stage is a Ray task, on any machine.

Results pass between stages through the folder of the store, which all machines share.
"""

import importlib.util
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

from draftmark.environment import install_hint
from draftmark.errors import UserError
from draftmark.pipeline.cluster.fleet import Fleet
from draftmark.pipeline.cluster.workers import ClusterContext
from draftmark.pipeline.executor import Failure
from draftmark.pipeline.journal import NO_JOURNAL, Journal
from draftmark.pipeline.planning.needs import Needs
from draftmark.pipeline.scheduler import run_stages, unmade_stages
from draftmark.pipeline.stopping import NO_STOP, Stop
from draftmark.progress import Progress
from draftmark.store.graph import Node, topological_order
from draftmark.store.store import Store
from draftmark.text import counted

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
    unmade = unmade_stages(order.values(), store)
    if not unmade:
        return {}
    with connect_ray(address) as ray:
        if address != LOCAL:
            store.share()
        versions = {key: node.versions for key, node in order.items()}
        root = store.root.resolve()
        context = ClusterContext(order, root, threads, journal, stop.flag, versions)
        fleet = Fleet(ray, context, needs, progress)
        fleet.check()
        progress.say(f"{counted(len(unmade), 'stage')} on {fleet.describe()}.")
        return run_stages(unmade, needs, fleet, journal, stop)


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
