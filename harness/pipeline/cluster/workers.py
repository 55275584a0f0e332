"""Workers of a cluster: each call makes one stage's result in the shared store."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from draftmark.environment import machine_facts
from draftmark.pipeline.executor import Failure
from draftmark.pipeline.stage_worker import Outcome, WorkerContext, make_on_worker
from draftmark.progress import Progress
from draftmark.store.graph import Node
from draftmark.store.store import Store


@dataclass(frozen=True)
class ClusterContext(WorkerContext):
    """The context of workers on other machines, which must have the same code."""

    versions: Mapping[str, Sequence[str]]  # of each node's code, on the machine of the run


def run_stage(fetch: Callable[[], ClusterContext], name: str, key: str) -> Outcome:
    """Make the result of the node `key`, unless the run is to stop.

    `fetch` returns the context, which is named `name` and fetched once.
    """
    context, store = _context(name, fetch)
    node = context.nodes[key]
    if reason := _reason_against(node, context):
        context.journal.record("failed", key=key, reason=reason)
        return Outcome(Failure(node.label, reason, ""), platform.node())
    return make_on_worker(key, context, store, Progress(quiet=True))


_contexts: dict[str, tuple[ClusterContext, Store]] = {}  # of the worker's latest run


def _context(name: str, fetch: Callable[[], ClusterContext]) -> tuple[ClusterContext, Store]:
    """Return a run's context and its store, which verifies each entry once."""
    if name not in _contexts:
        _contexts.clear()
        context = fetch()
        _contexts[name] = context, Store(context.root)
    return _contexts[name]


def _reason_against(node: Node, context: ClusterContext) -> str:
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
