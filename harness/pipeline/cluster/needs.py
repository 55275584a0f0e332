"""What each stage of a run needs of a machine: processors, GPUs, memory, quiet."""

from dataclasses import dataclass

from draftmark.pipeline.experiment import Plan
from draftmark.pipeline.planning.estimates import Cost, find_gpu
from draftmark.pipeline.planning.stage_costs import SettingCosts
from draftmark.store.graph import Node, topological

# What a process takes before it holds a model: Python with torch.
BASE_BYTES = 10**9
TIMED = ("decodes", "parts")  # the stages that measure time
_GPU = find_gpu("h100")  # only ratios of its times are used


@dataclass(frozen=True)
class Needs:
    """What a stage asks for; its GPUs are what it takes where there are any."""

    cpus: int = 1
    gpus: int = 0
    memory_bytes: int = 0
    alone: bool = False  # it measures time: nothing else may run beside it
    seconds: float = 0.0  # an estimate, to start first what most waits for


def of(plan: Plan) -> dict[str, Needs]:
    """Return what every stage needs, by its key."""
    costs = {
        key: SettingCosts.from_setting(setting, _GPU) for key, setting in plan.settings.items()
    }
    found: dict[str, Needs] = {}
    for cell, nodes in plan.cells.items():
        of_setting = costs[cell.task, cell.pair]
        for node in topological(nodes.all()):
            if node.key not in found:
                cost = of_setting.cost(node, cell)
                found[node.key] = _needs(node, cost, plan.recipe.threads or 1)
    return found


def _needs(node: Node, cost: Cost, threads: int) -> Needs:
    """Return a stage's needs; what holds a model takes a GPU for each of its processes."""
    return Needs(
        cpus=threads * node.processes,
        gpus=node.processes if cost.peak_bytes else 0,
        memory_bytes=int(cost.peak_bytes) + BASE_BYTES if cost.peak_bytes else 0,
        alone=node.stage in TIMED,
        seconds=cost.gpu_s,
    )
