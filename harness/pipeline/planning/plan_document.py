"""The plan of a run as data, for other programs: `draftmark plan --json`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from draftmark.pipeline import experiment
from draftmark.pipeline.planning.estimates import Cost, Gpu
from draftmark.pipeline.planning.jobs import plan_jobs
from draftmark.pipeline.planning.plan_table import PlannedStage, has_final_key, planned_stages
from draftmark.pipeline.recipe_files import load_recipe, suite_members
from draftmark.progress import Progress
from draftmark.store.store import Store

_TO_DO = ("to do", "damaged")


def plan_document(
    recipe: str,
    store: Path,
    gpu: Gpu,
    *,
    jobs: int | None = None,
    data: Path | None = None,
    tasks: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the plans of a recipe, or of each recipe of a suite, and the total to do.

    A stage that several recipes share counts once in the total.
    """
    kept, plans = Store(store), []
    every: dict[str, PlannedStage] = {}
    for name in suite_members(recipe):
        loaded = load_recipe(name, tasks=tasks)
        plan = experiment.plan_experiment(loaded, Progress(quiet=True), data=data, complete=False)
        stages = planned_stages(plan, kept, gpu)
        every |= {stage.node.key: stage for own in stages.values() for stage in own}
        plans.append(
            {
                "recipe": name,
                "title": loaded.title,
                "jobs": plan_jobs(plan, kept, jobs).jobs,
                "stages": [
                    {"task": task, "pair": pair, **_stage(stage)}
                    for (task, pair), own in stages.items()
                    for stage in own
                ],
            }
        )
    to_do = [stage.cost for stage in every.values() if stage.state in _TO_DO]
    total = {"stages": len(every), "to_do": len(to_do), **_cost(sum(to_do, Cost()))}
    return {"recipe": recipe, "gpu": gpu.name, "plans": plans, "total": total}


def _stage(stage: PlannedStage) -> dict[str, Any]:
    node = stage.node
    return {
        "stage": node.stage,
        "label": node.label,
        "key": node.key if has_final_key(node) else None,
        "state": stage.state,
        "seconds": stage.seconds,
        **_cost(stage.cost),
        "gpus": max(node.processes, stage.cost.gpus),
        "device_bytes": stage.cost.device_bytes,
        **({"fix": stage.fix} if stage.fix else {}),
    }


def _cost(cost: Cost) -> dict[str, float]:
    return {
        "flops": cost.total_flops,
        "memory_bytes": cost.peak_bytes,
        "disk_bytes": cost.disk_bytes,
        "gpu_seconds": cost.gpu_s,
    }
