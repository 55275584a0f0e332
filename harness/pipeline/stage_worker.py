"""A stage on a worker: the worker's context, and the outcome that it sends back.

Results pass between stages through the folder of the store, never through messages. So a stage
whose worker dies can run again, and finished results are kept.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from draftmark.errors import UserError
from draftmark.pipeline.executor import Failure, attempt_stage
from draftmark.pipeline.journal import Journal
from draftmark.progress import Progress
from draftmark.store.graph import Node
from draftmark.store.store import Store
from draftmark.text import escape_messages


@dataclass(frozen=True)
class WorkerContext:
    """The nodes of a run and where their results go, sent to every worker once."""

    nodes: Mapping[str, Node]  # by key
    root: Path  # of the store
    threads: int | None
    journal: Journal
    flag: Path | None  # no new stage starts once this file exists


@dataclass(frozen=True)
class Outcome:
    """The outcome of a stage on a worker."""

    failure: Failure | None = None
    host: str = ""
    seconds: float = 0.0
    fatal: str = ""  # an error that every other stage would meet too
    postponed: bool = False  # the stage has no result yet, and may start again


def make_on_worker(key: str, context: WorkerContext, store: Store, progress: Progress) -> Outcome:
    """Make the result of the node `key`, unless the run is to stop; return the outcome."""
    escape_messages()  # a worker prints on the run's terminal
    if context.flag is not None and context.flag.exists():
        return Outcome(postponed=True)
    node, host = context.nodes[key], platform.node()
    try:
        failure = attempt_stage(node, store, progress, context.threads, context.journal)
    except UserError as error:
        return Outcome(host=host, fatal=str(error))
    return Outcome(failure, host, 0.0 if failure else store.load(node).seconds)
