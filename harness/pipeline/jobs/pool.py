"""The pool: the workers of this machine, and which stages may run beside each other.

A stage that takes times has the machine to itself. Other stages run beside each other as long as
the plan's memory allows.
"""

import multiprocessing.connection
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType

import cloudpickle

from draftmark.pipeline.executor import Failure
from draftmark.pipeline.jobs.process import WorkerProcess
from draftmark.pipeline.planning.needs import Needs
from draftmark.pipeline.stage_worker import Outcome, WorkerContext
from draftmark.progress import Progress
from draftmark.store.graph import Node


class Pool:
    """At most `jobs` processes, started when they are first needed."""

    def __init__(
        self,
        context: WorkerContext,
        jobs: int,
        needs: Mapping[str, Needs],
        memory_bytes: float,
        progress: Progress,
    ) -> None:
        self._context, self._jobs, self._needs = context, jobs, needs
        self._memory_bytes, self._progress = memory_bytes, progress
        self._idle: list[WorkerProcess] = []
        self._running: dict[WorkerProcess, Node] = {}
        self._lost: set[str] = set()  # stages whose worker died: they start again, alone
        self._alone_now = False
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `__exit__`)

    def __enter__(self) -> "Pool":
        # Builds are functions within functions, which pickle cannot store.
        cloudpickle.dump(self._context, self._file)
        self._file.flush()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        workers = [*self._idle, *self._running]
        for worker in workers:
            worker.connection.close()
        for worker in workers:
            worker.close()
        self._file.close()

    def pick(self, ready: Sequence[Node]) -> Node | None:
        """Return the ready stage that starts next, if there is room for it.

        Stages that run alone follow each other when no others are left: each change between the two
        kinds leaves processors idle. No stage overtakes one that waits for memory.
        """
        node = min(ready, key=lambda node: self._runs_alone(node) != self._alone_now)
        return node if self._has_room(node) else None

    def _runs_alone(self, node: Node) -> bool:
        return self._need(node).alone or node.key in self._lost

    def _need(self, node: Node) -> Needs:
        return self._needs.get(node.key, Needs())

    def _has_room(self, node: Node) -> bool:
        beside = list(self._running.values())
        if not beside:
            return True
        if any(self._runs_alone(each) for each in (node, *beside)):
            return False
        memory_bytes = sum(self._need(each).memory_bytes for each in (node, *beside))
        processes = sum(each.processes for each in (node, *beside))
        return processes <= self._jobs and memory_bytes <= self._memory_bytes

    def start(self, node: Node) -> None:
        """Start a stage on an idle worker, or on a new one."""
        self._idle = [worker for worker in self._idle if worker.lives]
        worker = self._idle.pop() if self._idle else WorkerProcess(self._file)
        self._alone_now = self._runs_alone(node)
        self._running[worker] = node
        worker.start(node, self._progress)

    def finished(self) -> Iterator[tuple[Node, Outcome]]:
        """Yield the stages that have ended, after a wait if there are none yet."""
        ended = False
        while self._running and not ended:
            connections = {worker.connection: worker for worker in self._running}
            for connection in multiprocessing.connection.wait(list(connections)):
                worker = connections[connection]  # type: ignore[index]
                if outcome := self._receive(worker):
                    ended = True
                    yield self._running.pop(worker), outcome

    def _receive(self, worker: WorkerProcess) -> Outcome | None:
        """Show a worker's next message; return the outcome if its stage has ended."""
        try:
            if outcome := worker.receive():
                self._idle.append(worker)
            return outcome
        except EOFError:
            return self._after_death(self._running[worker], worker.ending())

    def _after_death(self, node: Node, ending: str) -> Outcome:
        """Return the outcome of a stage whose worker died: it starts again, but only once."""
        if node.key not in self._lost:
            self._lost.add(node.key)
            self._progress.say(
                f"{node.label}: its process {ending}; it starts again, with no stage beside it."
            )
            return Outcome(postponed=True)
        reason = f"its process {ending} twice, the second time with no stage beside it"
        if "SIGKILL" in ending:
            reason += "; perhaps the machine ran out of memory"
        self._context.journal.record("failed", key=node.key, reason=reason)
        self._progress.say(f"FAILED {node.label}: {reason}")
        return Outcome(Failure(node.label, reason, ""))
