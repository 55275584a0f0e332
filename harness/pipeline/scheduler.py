"""The scheduler of workers: starts each stage once its inputs are made, long chains first.

It serves every executor with workers. Workers decide which of the ready stages they have room for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from draftmark.errors import UserError
from draftmark.pipeline.executor import Failure, failed_input
from draftmark.pipeline.journal import Journal
from draftmark.pipeline.planning.needs import Needs
from draftmark.pipeline.planning.schedule import StageRun, longest_chain_s
from draftmark.pipeline.stage_worker import Outcome
from draftmark.pipeline.stopping import Stop, Stopped
from draftmark.store.entries import Damaged
from draftmark.store.graph import Node
from draftmark.store.store import Store


class Workers(Protocol):
    """Workers that make results: processes of this machine, or of a cluster."""

    def pick(self, ready: Sequence[Node]) -> Node | None:
        """Return the ready stage that starts next, None if it has to wait; `ready` is sorted."""

    def start(self, node: Node) -> None:
        """Start a stage that was picked."""

    def finished(self) -> Iterable[tuple[Node, Outcome]]:
        """Return the stages that have ended, after a wait if there are none yet."""


def unmade_stages(nodes: Iterable[Node], store: Store) -> dict[str, Node]:
    """Return by key the nodes whose result is missing or damaged, in the same order."""
    return {node.key: node for node in nodes if not _is_made(node, store)}


def _is_made(node: Node, store: Store) -> bool:
    try:
        store.load(node)
    except (Damaged, KeyError, FileNotFoundError):
        return False
    return True


def run_stages(
    unmade: Mapping[str, Node],
    needs: Mapping[str, Needs],
    workers: Workers,
    journal: Journal,
    stop: Stop,
) -> dict[str, Failure]:
    """Make the results of `unmade`, inputs first; return the failures by node key.

    Raises UserError if an error would meet every stage. Raises Stopped if a stop was requested and
    a result is still missing.
    """
    priority, waiting = _priorities(unmade, needs), dict(unmade)
    failures: dict[str, Failure] = {}
    running: set[str] = set()
    while waiting or running:
        ready = [] if stop.requested else _ready(waiting, running, failures, journal)
        ready.sort(key=lambda node: -priority[node.key])
        while ready and (node := workers.pick(ready)):
            ready.remove(node)
            running.add(node.key)
            workers.start(waiting.pop(node.key))
        if stop.requested and not running:
            raise Stopped
        for node, outcome in workers.finished():
            running.remove(node.key)
            if outcome.fatal:
                raise UserError(outcome.fatal)
            if outcome.postponed:
                waiting[node.key] = node
            elif outcome.failure:
                failures[node.key] = outcome.failure
    return failures


def _priorities(nodes: Mapping[str, Node], needs: Mapping[str, Needs]) -> dict[str, float]:
    """Return the seconds of each stage plus those of the longest chain that waits for it."""
    works = {}
    for key, node in nodes.items():
        inputs = tuple(upstream.key for upstream in node.inputs.values())
        works[key] = StageRun(needs[key].seconds if key in needs else 0.0, 1, inputs)
    return longest_chain_s(works)


def _ready(
    waiting: dict[str, Node], running: set[str], failures: dict[str, Failure], journal: Journal
) -> list[Node]:
    """Return the stages whose inputs are made; move stages with a failed input to `failures`."""
    unmade, ready = waiting.keys() | running, []
    for key, node in list(waiting.items()):
        if failure := failed_input(node, failures, journal):
            failures[key] = failure
            del waiting[key]
        elif not any(item.key in unmade for item in node.inputs.values()):
            ready.append(node)
    return ready
