"""Runs the graph in this process: what is cached is loaded, what is not is made and committed.

A node that fails takes down only what depends on it; the rest goes on.
"""

import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from harness.errors import UserError
from harness.graph import LEFT, Job, Node, topological
from harness.progress import Progress
from harness.storage.entries import Damaged, Entry
from harness.store import Store, explain_full_disk


@dataclass(frozen=True)
class Failure:
    """Why a node has no result."""

    label: str
    reason: str
    details: str  # the traceback of a bug; empty for what a person can mend


def execute(
    nodes: Iterable[Node], store: Store, progress: Progress, *, threads: int | None = None
) -> dict[str, Failure]:
    """Make every missing result, on `threads` of the processor; return the failures by node key.

    Raises UserError at once if the disk is full: nothing else would succeed either.
    """
    failures: dict[str, Failure] = {}
    for node in topological(nodes):
        upstream = next(
            (failures[item.key] for item in node.inputs.values() if item.key in failures), None
        )
        if upstream:
            failures[node.key] = upstream
        elif (failure := _attempt(node, store, progress, threads)) is not None:
            failures[node.key] = failure
    return failures


def _attempt(node: Node, store: Store, progress: Progress, threads: int | None) -> Failure | None:
    try:
        ensure(node, store, progress, threads=threads)
    except UserError as error:
        failure = Failure(node.label, str(error), "")
    except Exception as error:
        full = explain_full_disk(error, store.root)
        if full:
            raise full from error
        reason = f"{type(error).__name__}: {error}"
        failure = Failure(node.label, reason, traceback.format_exc())
        progress.say(f"Traceback: {store.note_failure(node, failure.details)}")
    else:
        return None
    progress.say(f"FAILED {failure.label}: {failure.reason}")
    return failure


def ensure(node: Node, store: Store, progress: Progress, *, threads: int | None = None) -> Entry:
    """Return the node's entry, made now if the store has none or a damaged one."""
    if store.has(node):
        with suppress(Damaged, KeyError, FileNotFoundError):
            return store.load(node)
    with store.lock(node):
        if store.has(node):  # damaged, unless another process has made it meanwhile
            try:
                return store.load(node)
            except Damaged as damage:
                aside = store.set_aside(node)
                progress.say(f"Damaged: {damage}. Set aside in {aside}; making it again.")
        return _make(node, store, progress, threads)


def _make(node: Node, store: Store, progress: Progress, threads: int | None) -> Entry:
    assert node.build is not None
    if threads:
        import torch

        torch.set_num_threads(threads)
    started = time.perf_counter()
    progress.say(f"{node.stage}: {node.label} ...")
    out = store.new_directory(node)
    inputs = {name: store.load(upstream).directory for name, upstream in node.inputs.items()}
    scratch = store.scratch(node)
    node.build(Job(inputs, out, scratch, progress, store.logs(node)))
    for file in sorted((scratch / LEFT).glob("*")):
        file.replace(out / file.name)
    seconds = time.perf_counter() - started
    entry = store.commit(node, out, seconds=seconds)
    progress.say(f"{node.stage}: {node.label}: {seconds:.1f} s")
    return entry
