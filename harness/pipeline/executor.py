"""The interface of executors, and the serial one: this process builds every missing result.

Inputs are built first. If a node fails, the nodes that depend on it fail as well; all others are
built.
"""

import time
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from draftmark.errors import Unsupported, UserError
from draftmark.pipeline.journal import NO_JOURNAL, Journal
from draftmark.pipeline.stopping import NO_STOP, Stop, Stopped
from draftmark.progress import Progress
from draftmark.store.entries import Damaged, Entry
from draftmark.store.files import explain_full_disk
from draftmark.store.graph import RESULT_FILES, Job, Node, topological_order
from draftmark.store.store import Store


@dataclass(frozen=True)
class Failure:
    """The reason why a node has no result."""

    label: str  # the node that failed, perhaps an input
    reason: str
    details: str  # the traceback of a bug; empty if the user can fix the cause
    refused: bool = False  # an engine does not support the settings

    @property
    def event(self) -> str:
        """The name of the journal's event."""
        return "refused" if self.refused else "failed"


class Executor(Protocol):
    """Makes results: `execute_stages` in this process, `jobs` in several, `cluster` on machines."""

    def __call__(
        self,
        nodes: Iterable[Node],
        store: Store,
        progress: Progress,
        *,
        threads: int | None = None,
        journal: Journal = NO_JOURNAL,
        stop: Stop = NO_STOP,
    ) -> dict[str, Failure]:
        """Make every missing result with `threads` CPU threads; return the failures by node key.

        Raises UserError if an error would meet every node, such as a full disk. Raises Stopped if a
        stop was requested and a result is still missing.
        """


def execute_stages(
    nodes: Iterable[Node],
    store: Store,
    progress: Progress,
    *,
    threads: int | None = None,
    journal: Journal = NO_JOURNAL,
    stop: Stop = NO_STOP,
) -> dict[str, Failure]:
    """Make every missing result in this process, one after another, as an `Executor` does."""
    failures: dict[str, Failure] = {}
    for node in topological_order(nodes):
        missing = not store.has(node)
        if missing and (upstream := failed_input(node, failures, journal)):
            failures[node.key] = upstream
        elif missing and stop.requested:
            raise Stopped
        elif failure := attempt_stage(node, store, progress, threads, journal):
            failures[node.key] = failure
    return failures


def failed_input(node: Node, failures: Mapping[str, Failure], journal: Journal) -> Failure | None:
    """Return the failure of one of a node's inputs, if any failed."""
    for upstream in node.inputs.values():
        if failure := failures.get(upstream.key):
            journal.record(failure.event, key=node.key, reason=f"needs {failure.label}")
            return failure
    return None


def attempt_stage(
    node: Node, store: Store, progress: Progress, threads: int | None, journal: Journal
) -> Failure | None:
    """Make a node's result if it is missing; return the failure, if any.

    Raises UserError if the disk is full.
    """
    try:
        ensure_entry(node, store, progress, threads=threads, journal=journal)
    except UserError as error:
        refused = isinstance(error, Unsupported)
        failure = Failure(node.label, str(error), "", refused=refused)
    except Exception as error:
        full = explain_full_disk(error, store.root)
        if full:
            raise full from error
        reason = f"{type(error).__name__}: {error}"
        failure = Failure(node.label, reason, traceback.format_exc())
        progress.say(f"Traceback: {store.note_failure(node, failure.details)}")
    else:
        return None
    progress.say(f"{failure.event.upper()} {failure.label}: {failure.reason}")
    journal.record(failure.event, key=node.key, reason=failure.reason)
    return failure


def ensure_entry(
    node: Node,
    store: Store,
    progress: Progress,
    *,
    threads: int | None = None,
    journal: Journal = NO_JOURNAL,
) -> Entry:
    """Return a node's entry; make the result if the store lacks it or has a damaged one."""
    if store.has(node):
        with suppress(Damaged, KeyError, FileNotFoundError):
            return store.load(node)
    with store.lock(node.key):
        if store.has(node):  # damaged, unless another process made it meanwhile
            try:
                return store.load(node)
            except Damaged as damage:
                aside = store.set_aside(store.directory(node))
                progress.say(f"Damaged: {damage}. Set aside in {aside}; making it again.")
        return _make(node, store, progress, threads, journal)


def _make(
    node: Node, store: Store, progress: Progress, threads: int | None, journal: Journal
) -> Entry:
    assert node.build is not None
    inputs = {
        name: ensure_entry(upstream, store, progress, threads=threads, journal=journal).directory
        for name, upstream in node.inputs.items()
    }
    if threads:
        import torch

        torch.set_num_threads(threads)
    started = time.perf_counter()
    journal.record("start", key=node.key)
    out = store.new_directory(node)
    scratch, recorded = store.scratch(node), journal.recorded(progress, node)
    node.build(Job(inputs, out, scratch, recorded, store.logs(node)))
    for file in sorted((scratch / RESULT_FILES).glob("*")):
        file.replace(out / file.name)
    seconds = time.perf_counter() - started
    entry = store.commit(node, out, seconds=seconds)
    progress.stage_done(f"{node.title}: {seconds:.1f} s")
    journal.record("done", key=node.key, seconds=seconds)
    return entry
