"""Runs the graph in this process: what is cached is loaded, what is not is made and committed.

A node that fails takes down only what depends on it; the rest goes on.
"""

import time
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from draftmark.errors import Unsupported, UserError
from draftmark.pipeline.journal import UNHEARD, Journal
from draftmark.pipeline.stopping import NEVER, Stop, Stopped
from draftmark.progress import Progress
from draftmark.store.entries import Damaged, Entry
from draftmark.store.graph import RESULT_FILES, Job, Node, topological
from draftmark.store.store import Store, explain_full_disk


@dataclass(frozen=True)
class Failure:
    """Why a node has no result."""

    label: str
    reason: str
    details: str  # the traceback of a bug; empty for what a person can mend
    refused: bool = False  # an engine does not do it: nothing broke

    @property
    def event(self) -> str:
        """What a journal calls it."""
        return "refused" if self.refused else "failed"


def execute(
    nodes: Iterable[Node],
    store: Store,
    progress: Progress,
    *,
    threads: int | None = None,
    journal: Journal = UNHEARD,
    stop: Stop = NEVER,
) -> dict[str, Failure]:
    """Make every missing result, on `threads` of the processor; return the failures by node key.

    Raises UserError at once if the disk is full: nothing else would succeed either. Raises Stopped
    if the run is asked to stop while there is something left to make.
    """
    failures: dict[str, Failure] = {}
    for node in topological(nodes):
        missing = not store.has(node)
        if missing and (upstream := blocked(node, failures, journal)):
            failures[node.key] = upstream
        elif missing and stop.asked:
            raise Stopped
        elif failure := attempt(node, store, progress, threads, journal):
            failures[node.key] = failure
    return failures


def blocked(node: Node, failures: Mapping[str, Failure], journal: Journal) -> Failure | None:
    """Return why a node cannot be made, if one that it needs has failed."""
    for upstream in node.inputs.values():
        if failure := failures.get(upstream.key):
            journal.tell(failure.event, key=node.key, reason=f"needs {failure.label}")
            return failure
    return None


def attempt(
    node: Node, store: Store, progress: Progress, threads: int | None, journal: Journal
) -> Failure | None:
    """Make a node's result if it is missing; return why there is none.

    Raises UserError if the disk is full.
    """
    try:
        ensure(node, store, progress, threads=threads, journal=journal)
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
    journal.tell(failure.event, key=node.key, reason=failure.reason)
    return failure


def ensure(
    node: Node,
    store: Store,
    progress: Progress,
    *,
    threads: int | None = None,
    journal: Journal = UNHEARD,
) -> Entry:
    """Return the node's entry, made now if the store has none or a damaged one."""
    if store.has(node):
        with suppress(Damaged, KeyError, FileNotFoundError):
            return store.load(node)
    with store.lock(node.key):
        if store.has(node):  # damaged, unless another process has made it meanwhile
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
        name: ensure(upstream, store, progress, threads=threads, journal=journal).directory
        for name, upstream in node.inputs.items()
    }
    if threads:
        import torch

        torch.set_num_threads(threads)
    started = time.perf_counter()
    progress.say(f"{node.stage}: {node.label} ...")
    journal.tell("start", key=node.key)
    out = store.new_directory(node)
    scratch, telling = store.scratch(node), journal.listening(progress, node)
    node.build(Job(inputs, out, scratch, telling, store.logs(node)))
    for file in sorted((scratch / RESULT_FILES).glob("*")):
        file.replace(out / file.name)
    seconds = time.perf_counter() - started
    entry = store.commit(node, out, seconds=seconds)
    progress.say(f"{node.stage}: {node.label}: {seconds:.1f} s")
    journal.tell("done", key=node.key, seconds=seconds)
    return entry
