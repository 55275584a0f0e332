"""Workers of a cluster: each call makes one stage's result in the shared store."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from draftmark.environment import machine_facts
from draftmark.errors import UserError
from draftmark.pipeline.executor import Failure, attempt_stage
from draftmark.pipeline.journal import Journal
from draftmark.progress import Progress
from draftmark.store.graph import Node
from draftmark.store.store import Store


@dataclass(frozen=True)
class WorkerContext:
    """The nodes of a run and where their results go, sent to every worker once."""

    nodes: Mapping[str, Node]  # by key
    versions: Mapping[str, Sequence[str]]  # of each node's code, on the machine of the run
    root: Path  # of the shared store
    threads: int | None
    journal: Journal
    flag: Path | None  # no new stage starts once this file exists

    @property
    def stopped(self) -> bool:
        """True if no new stage may start."""
        return self.flag is not None and self.flag.exists()


@dataclass(frozen=True)
class Outcome:
    """The outcome of a stage on a worker."""

    failure: Failure | None = None
    host: str = ""
    seconds: float = 0.0
    fatal: str = ""  # an error that every other stage would meet too
    not_started: bool = False  # the run was asked to stop before the stage began


def run_stage(fetch: Callable[[], WorkerContext], name: str, key: str) -> Outcome:
    """Make the result of the node `key`, unless the run is to stop.

    `fetch` returns the context, which is named `name` and fetched once.
    """
    context, store = _context(name, fetch)
    if context.stopped:
        return Outcome(not_started=True)
    node, host = context.nodes[key], platform.node()
    if reason := _reason_against(node, context):
        context.journal.record("failed", key=key, reason=reason)
        return Outcome(Failure(node.label, reason, ""), host)
    try:
        failure = attempt_stage(node, store, Progress(quiet=True), context.threads, context.journal)
    except UserError as error:
        return Outcome(host=host, fatal=str(error))
    return Outcome(failure, host, 0.0 if failure else store.load(node).seconds)


_contexts: dict[str, tuple[WorkerContext, Store]] = {}  # of the worker's latest run


def _context(name: str, fetch: Callable[[], WorkerContext]) -> tuple[WorkerContext, Store]:
    """Return a run's context and its store, which verifies each entry once."""
    if name not in _contexts:
        _contexts.clear()
        context = fetch()
        _contexts[name] = context, Store(context.root)
    return _contexts[name]


def _reason_against(node: Node, context: WorkerContext) -> str:
    """Return why this machine would not make the same result as the run's; "" if it would."""
    if node.versions != list(context.versions[node.key]):
        return f"{platform.node()} has another version of draftmark; install the same everywhere"
    timed_on = node.settings.get("machine")
    if timed_on is not None and timed_on != machine_facts():
        return (
            f"the stage measures time, and {platform.node()} differs from the machine that started "
            "the run; start it on a machine like the cluster's, or set speed = false"
        )
    return ""


def missing_folder(root: Path, models: Sequence[Path]) -> str:
    """Return a sentence on a folder (store or model) that this machine lacks; "" if none."""
    missing = [path for path in (root, *models) if not path.is_dir()]
    return f"{platform.node()} has no {missing[0]}" if missing else ""
