"""What a worker of a cluster does: makes one stage's result in the store that all share."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from draftmark.environment import machine
from draftmark.errors import UserError
from draftmark.pipeline.executor import Failure, attempt
from draftmark.pipeline.journal import Journal
from draftmark.pipeline.stopping import Stop
from draftmark.progress import Progress
from draftmark.store.graph import Node
from draftmark.store.store import Store


@dataclass(frozen=True)
class WorkerContext:
    """What every worker is told once: the stages, and where their results are shared."""

    nodes: Mapping[str, Node]
    versions: Mapping[str, Sequence[str]]  # of the code of each, where the run was started
    root: Path
    threads: int | None
    journal: Journal
    flag: Path | None  # of a file that says that no new stage is to start

    @classmethod
    def of(
        cls,
        nodes: Mapping[str, Node],
        store: Store,
        threads: int | None,
        journal: Journal,
        stop: Stop,
    ) -> "WorkerContext":
        """Return the orders for making nodes, by key, in a store."""
        versions = {key: node.versions for key, node in nodes.items()}
        return cls(nodes, versions, store.root.resolve(), threads, journal, stop.flag)

    @property
    def stopped(self) -> bool:
        """Whether no new stage is to start."""
        return self.flag is not None and self.flag.exists()


@dataclass(frozen=True)
class Outcome:
    """What became of a stage on a worker."""

    failure: Failure | None = None
    host: str = ""
    seconds: float = 0.0
    fatal: str = ""  # why nothing else would succeed either
    left: bool = False  # the run was asked to stop before it began


def work(fetch: Callable[[], WorkerContext], name: str, key: str) -> Outcome:
    """Make a stage's result, unless the run is to stop; `name` is of the orders to be fetched."""
    orders, store = _received(name, fetch)
    if orders.stopped:
        return Outcome(left=True)
    node, host = orders.nodes[key], platform.node()
    if reason := _unfit(node, orders):
        orders.journal.tell("failed", key=key, reason=reason)
        return Outcome(Failure(node.label, reason, ""), host)
    try:
        failure = attempt(node, store, Progress(quiet=True), orders.threads, orders.journal)
    except UserError as error:
        return Outcome(host=host, fatal=str(error))
    return Outcome(failure, host, 0.0 if failure else store.load(node).seconds)


_kept: dict[str, tuple[WorkerContext, Store]] = {}


def _received(name: str, fetch: Callable[[], WorkerContext]) -> tuple[WorkerContext, Store]:
    """Return the orders of a run, fetched once, and its store, which knows what it has verified."""
    if name not in _kept:
        _kept.clear()  # of a run before
        orders = fetch()
        _kept[name] = orders, Store(orders.root)
    return _kept[name]


def _unfit(node: Node, orders: WorkerContext) -> str:
    """Return why this machine cannot make a node's result as the one that ordered it would."""
    if node.versions != list(orders.versions[node.key]):
        return f"{platform.node()} has another version of draftmark; install the same everywhere"
    told = node.settings.get("machine")
    if told is not None and told != machine():
        return (
            f"it takes times, and {platform.node()} is not like the machine that the run was "
            "started on; start it on one like the cluster's, or set speed = false"
        )
    return ""


def look(root: Path, given: Sequence[Path]) -> str:
    """Return what a machine of the cluster lacks: the shared store, models; empty if nothing."""
    missing = [path for path in (root, *given) if not path.is_dir()]
    return f"{platform.node()} has no {missing[0]}" if missing else ""
