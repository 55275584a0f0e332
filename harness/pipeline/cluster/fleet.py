"""The machines of a Ray cluster: what they have, and how a stage gets what it needs of it."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from draftmark.errors import UserError
from draftmark.pipeline.cluster.needs import Needs
from draftmark.pipeline.cluster.workers import Outcome, WorkerContext, look, work
from draftmark.pipeline.executor import Failure
from draftmark.store.graph import Node

RETRIES = 3  # a stage whose worker dies that often and once more is what kills its workers
_WAKE_S = 1.0  # how often a wait looks up, to hear Ctrl-C


def asks(needs: Needs, machines: Sequence[Mapping[str, float]], label: str) -> dict[str, float]:
    """Return what a stage asks Ray for, of machines that have so much each.

    No more than the largest has, of processors and memory: recipes are written for one machine, and
    estimates of memory are rough. GPUs it asks for where there are any; raises UserError if no
    machine has as many.
    """
    gpus = needs.gpus if any(have.get("GPU") for have in machines) else 0
    able = [have for have in machines if have.get("GPU", 0) >= gpus]
    if not able:
        raise UserError(
            f"{label}: training.processes = {gpus}, but no machine of the cluster has more than "
            f"{max(have.get('GPU', 0) for have in machines):.0f} GPUs; lower it."
        )
    largest = max(able, key=lambda have: (have.get("CPU", 0), have.get("memory", 0)))
    cpus = largest.get("CPU", 1)
    asked = {
        "num_cpus": cpus if needs.alone else min(needs.cpus, cpus),
        "memory": min(needs.memory_bytes, largest.get("memory", 0)),
        "num_gpus": gpus,
    }
    return {name: amount for name, amount in asked.items() if amount}


class Fleet:
    """A cluster that Ray is connected to, with the orders that its workers have."""

    def __init__(self, ray: ModuleType, orders: WorkerContext, needs: Mapping[str, Needs]) -> None:
        self.needs, self._ray, self._orders = needs, ray, orders
        self._held = ray.put(orders)
        self._machines = [
            (node["NodeID"], node["Resources"]) for node in ray.nodes() if node["Alive"]
        ]
        self._task = ray.remote(_on_a_worker)

    def describe(self) -> str:
        """Say what the cluster has."""
        cpus, gpus = (
            sum(have.get(kind, 0) for _, have in self._machines) for kind in ("CPU", "GPU")
        )
        return f"{cpus:.0f} processors and {gpus:.0f} GPUs, machines: {len(self._machines)}"

    def check(self) -> None:
        """Raise UserError if a machine lacks the store or a model, or none is enough for a stage.

        A stage that waits for what no machine has would wait for ever.
        """
        for node in self._orders.nodes.values():
            self._options(node)
        given = [
            node.existing_folder.resolve()
            for node in self._orders.nodes.values()
            if node.existing_folder
        ]
        probe = self._ray.remote(look)
        asked = [
            probe.options(num_cpus=0, scheduling_strategy=self._at(name)).remote(
                self._orders.root, given
            )
            for name, have in self._machines
            if have.get("CPU")
        ]
        lacking = [said for said in self._ray.get(asked) if said]
        if lacking:
            raise UserError(
                f"{lacking[0]}; --store, and DRAFTMARK_CACHE with the models, must be in a folder "
                "that all machines of the cluster share."
            )

    def _at(self, node_id: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node_id, soft=False)

    def start(self, node: Node) -> Any:
        """Hand a stage to the cluster; return what stands for its outcome."""
        name = self._held.hex()
        task = self._task.options(name=node.label, max_retries=RETRIES, **self._options(node))
        return task.remote([self._held], name, node.key)

    def _options(self, node: Node) -> dict[str, float]:
        machines = [have for _, have in self._machines]
        return asks(self.needs.get(node.key, Needs()), machines, node.label)

    def finished(self, running: Sequence[Any]) -> list[Any]:
        """Return what has finished of what runs; none if nothing does for a moment."""
        if not running:
            return []
        self._ray.wait(running, num_returns=1, timeout=_WAKE_S)
        done, _ = self._ray.wait(running, num_returns=len(running), timeout=0)
        return list(done)

    def outcome(self, ref: Any, node: Node) -> Outcome:
        """Return what became of a stage that has finished."""
        try:
            outcome: Outcome = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            self._orders.journal.tell("failed", key=node.key, reason=reason)
            return Outcome(Failure(node.label, reason, str(error)))
        return outcome


def _on_a_worker(held: list[Any], name: str, key: str) -> Outcome:
    import ray

    return work(lambda: ray.get(held[0]), name, key)
