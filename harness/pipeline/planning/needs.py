"""The needs of each stage: CPUs, GPUs, memory, and no other stage beside a timed one."""

from collections.abc import Iterable
from dataclasses import dataclass

from draftmark.pipeline.experiment import Plan
from draftmark.pipeline.planning.estimates import Cost, Gpu, find_gpu
from draftmark.pipeline.planning.stage_costs import SettingCosts
from draftmark.store.graph import Node, topological_order

BASE_BYTES = 10**9  # a process with torch before it loads a model
TIMED = ("decodes", "parts")  # the stages that measure time
_GPU = find_gpu("h100")  # only the ratios of its times matter


@dataclass(frozen=True)
class Needs:
    """The resources of a stage; `gpus` applies only to clusters that have GPUs."""

    cpus: int = 1
    gpus: int = 0
    memory_bytes: int = 0
    alone: bool = False  # the stage measures time, so no other may run on its machine
    seconds: float = 0.0  # an estimate, by which stages are prioritised


def stage_needs(plan: Plan, device: Gpu = _GPU) -> dict[str, Needs]:
    """Return the needs of every stage by node key; seconds are those on a device.

    Raises UserError, KeyError or TypeError for a model whose shape cannot be read.
    """
    costs = {
        key: SettingCosts.from_setting(setting, device) for key, setting in plan.settings.items()
    }
    found: dict[str, Needs] = {}
    for cell in plan.cells:
        of_setting = costs[cell.task, cell.pair]
        for node in topological_order(plan.nodes_of(cell)):
            if node.key not in found:
                cost = of_setting.cost(node, cell)
                found[node.key] = _needs(node, cost, plan.recipe.threads or 1)
    return found


def needs_without_costs(nodes: Iterable[Node]) -> dict[str, Needs]:
    """Return the needs of stages with models of unknown shape: only if they run alone."""
    return {node.key: Needs(alone=node.stage in TIMED) for node in nodes}


def _needs(node: Node, cost: Cost, threads: int) -> Needs:
    """Return a stage's needs; a stage with a model takes a GPU for each of its processes.

    Where its target is spread, it takes as many as hold the target.
    """
    return Needs(
        cpus=threads * node.processes,
        gpus=max(node.processes, cost.gpus) if cost.peak_bytes else 0,
        memory_bytes=int(cost.peak_bytes) + BASE_BYTES if cost.peak_bytes else 0,
        alone=node.stage in TIMED,
        seconds=cost.gpu_s / node.processes,
    )
