"""The machines of a Ray cluster: their resources, and what each stage requests of them."""

from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from draftmark.errors import UserError
from draftmark.pipeline.cluster.workers import ClusterContext, missing_folder, run_stage
from draftmark.pipeline.executor import Failure
from draftmark.pipeline.planning.needs import Needs
from draftmark.pipeline.stage_worker import Outcome
from draftmark.progress import Progress
from draftmark.store.graph import Node

RETRIES = 3  # a stage fails if this many retries lose their workers too
_WAKE_S = 1.0  # a wait returns after this time, so that Ctrl-C is handled


def ray_options(
    needs: Needs, machines: Sequence[Mapping[str, float]], label: str
) -> dict[str, float]:
    """Return the Ray resources of a stage, given the resources of each machine.

    CPUs and memory are capped at those of the largest machine, as recipes are written for one
    machine and estimates of memory are rough. GPUs are requested only if a machine has any; raises
    UserError if no machine has enough.
    """
    gpus = needs.gpus if any(machine.get("GPU") for machine in machines) else 0
    suitable = [machine for machine in machines if machine.get("GPU", 0) >= gpus]
    if not suitable:
        raise UserError(
            f"{label}: training.processes = {gpus}, but no machine of the cluster has more than "
            f"{max(machine.get('GPU', 0) for machine in machines):.0f} GPUs; lower it."
        )
    largest = max(suitable, key=lambda machine: (machine.get("CPU", 0), machine.get("memory", 0)))
    cpus = largest.get("CPU", 1)
    options = {
        "num_cpus": cpus if needs.alone else min(needs.cpus, cpus),
        "memory": min(needs.memory_bytes, largest.get("memory", 0)),
        "num_gpus": gpus,
    }
    return {name: amount for name, amount in options.items() if amount}


class Fleet:
    """The workers of a connected Ray cluster, which share a context."""

    def __init__(
        self,
        ray: ModuleType,
        context: ClusterContext,
        needs: Mapping[str, Needs],
        progress: Progress,
    ) -> None:
        self._needs, self._ray, self._context, self._progress = needs, ray, context, progress
        self._running: dict[Any, Node] = {}  # by Ray reference
        self._context_ref = ray.put(context)
        self._machines = [
            (node["NodeID"], node["Resources"]) for node in ray.nodes() if node["Alive"]
        ]
        self._task = ray.remote(_on_a_worker)

    def describe(self) -> str:
        """Return the cluster's resources in words."""
        cpus, gpus = (
            sum(machine.get(kind, 0) for _, machine in self._machines) for kind in ("CPU", "GPU")
        )
        return f"a cluster of {cpus:.0f} CPUs and {gpus:.0f} GPUs, machines: {len(self._machines)}"

    def check(self) -> None:
        """Raise UserError if a machine lacks the store or a model, or a stage fits no machine.

        Ray would wait forever for resources that no machine has.
        """
        nodes = self._context.nodes.values()
        for node in nodes:
            self._options(node)
        models = [node.existing_folder.resolve() for node in nodes if node.existing_folder]
        probe = self._ray.remote(missing_folder)
        replies = self._ray.get(
            [
                probe.options(num_cpus=0, scheduling_strategy=self._at(name)).remote(
                    self._context.root, models
                )
                for name, machine in self._machines
                if machine.get("CPU")
            ]
        )
        if lacking := next(filter(None, replies), ""):
            raise UserError(
                f"{lacking}; --store, and DRAFTMARK_CACHE with the models, must be in a folder "
                "that all machines of the cluster share."
            )

    def _at(self, node_id: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node_id, soft=False)

    def pick(self, ready: Sequence[Node]) -> Node | None:
        """Return the first ready stage: Ray starts stages when a machine has room for them."""
        return ready[0]

    def start(self, node: Node) -> None:
        """Submit a stage to the cluster."""
        name = self._context_ref.hex()
        task = self._task.options(name=node.label, max_retries=RETRIES, **self._options(node))
        self._running[task.remote([self._context_ref], name, node.key)] = node

    def _options(self, node: Node) -> dict[str, float]:
        machines = [machine for _, machine in self._machines]
        return ray_options(self._needs.get(node.key, Needs()), machines, node.label)

    def finished(self) -> Iterator[tuple[Node, Outcome]]:
        """Yield the stages that have ended, after a short wait if there are none yet."""
        if not self._running:
            return
        self._ray.wait(list(self._running), num_returns=1, timeout=_WAKE_S)
        done, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        for ref in done:
            node = self._running.pop(ref)
            outcome = self._outcome(ref, node)
            self._show(node, outcome)
            yield node, outcome

    def _outcome(self, ref: Any, node: Node) -> Outcome:
        """Return the outcome of a stage that has ended; a lost worker is a failure."""
        try:
            outcome: Outcome = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            self._context.journal.record("failed", key=node.key, reason=reason)
            return Outcome(Failure(node.label, reason, str(error)))
        return outcome

    def _show(self, node: Node, outcome: Outcome) -> None:
        if outcome.failure:
            event = outcome.failure.event.upper()
            self._progress.say(f"{event} {node.label}: {outcome.failure.reason}")
        elif outcome.host and not outcome.fatal:
            seconds = f"{outcome.seconds:.1f} s, {outcome.host}"
            self._progress.stage_done(f"{node.title}: {seconds}")


def _on_a_worker(context_ref: list[Any], name: str, key: str) -> Outcome:
    import ray

    return run_stage(lambda: ray.get(context_ref[0]), name, key)
