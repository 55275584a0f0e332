"""`draftmark verify`: the lossless checks of a run's drafts, as stages of their own.

They run the recipe's engine again, on a few prompts and at every temperature that the recipe
measures, so they are not part of a run. What they find is kept like any other result.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from draftmark import registry
from draftmark.config.recipe import MethodEntry
from draftmark.config.sections import Speed, SpeedCondition
from draftmark.errors import UserError
from draftmark.pipeline.executor import ensure
from draftmark.pipeline.experiment import Plan
from draftmark.pipeline.setting import TEXT_SEED, Setting
from draftmark.pipeline.stages.measurements import engine_for
from draftmark.progress import Progress
from draftmark.results import Cell
from draftmark.speculation.build_method import build_method
from draftmark.store.graph import Job, Node
from draftmark.store.store import Store, write_json

CHECKS = "checks.json"
PUBLISHED = "lossless.json"


def verify(plan: Plan, store: Store, progress: Progress, num_prompts: int) -> list[dict[str, Any]]:
    """Return the checks of every cell whose draft is in the store, as JSON.

    A damaged draft is trained again. Raises UserError if none is there: the run is elsewhere, or
    code or rows have changed since.
    """
    made = {cell: nodes for cell, nodes in plan.cells.items() if store.has(nodes.draft)}
    if not made:
        raise UserError(
            f"No draft of this run is in {store.root}; name its store by --store and its rows by "
            "--data, or run the recipe again."
        )
    found = []
    for cell, nodes in made.items():
        setting = plan.settings[cell.task, cell.pair]
        entry = setting.recipe.method(cell.method)
        for temperature in plan.recipe.evaluation.temperatures:
            node = checks(setting, entry, nodes.draft, temperature, num_prompts)
            made_of = ensure(node, store, progress, threads=plan.recipe.threads)
            for check in json.loads((made_of.directory / CHECKS).read_text("utf-8")):
                found.append({"cell": asdict(cell), "temperature": temperature, **check})
    return found


def publish(found: Sequence[Mapping[str, Any]], plan: Plan, directory: Path) -> None:
    """Write the checks beside a run's results, with the engine that they are of."""
    under = _headline(plan.recipe.speed)
    facts = {"engine": under.engine, "dtype": under.dtype, "checks": list(found)}
    write_json(directory / PUBLISHED, facts)


def failed(found: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """Return the cells that failed a check."""
    return [Cell(**check["cell"]) for check in found if not check["passed"]]


def _headline(speed: Speed | None) -> SpeedCondition:
    """Return which engine is verified, and how it decodes: the reference engine by default."""
    return replace((speed or Speed()).conditions()[0], batch_size=1, length="natural")


def checks(
    setting: Setting, entry: MethodEntry, drafted: Node, temperature: float, num_prompts: int
) -> Node:
    """Return the node of the lossless checks of a draft at a temperature."""
    under, method = _headline(setting.recipe.speed), build_method(entry)
    samplers = setting.recipe.samplers(temperature)
    rows = setting.rows["test"].first(num_prompts)

    def build(job: Job) -> None:
        from draftmark.engines.measure.lossless import run_checks

        settings = setting.decoding(under, samplers, job.inputs["target"])
        prompts = setting.prompts(job.inputs["target"], rows.examples)
        engine = engine_for(under.engine, method)
        with job.progress.step("checking", 4) as step:
            found = run_checks(engine, method, job.inputs, settings, prompts, step)
        write_json(job.out / CHECKS, [asdict(check) for check in found])

    settings = {
        "engine": under.engine,
        "num_speculative_tokens": under.num_speculative_tokens,
        "dtype": under.dtype,
        "samplers": asdict(samplers),
        "rows": rows.digest,
        "format": setting.format,
        "max_new_tokens": setting.max_new_tokens,
        "stop": setting.stop,
        "seed": TEXT_SEED,
    }
    code = (
        registry.module_name("engines", under.engine),
        registry.module_name("baselines", entry.name),
        "draftmark.engines.measure.lossless",
        "draftmark.data.prompts",
    )
    label = f"lossless checks of {drafted.label}, {samplers.target.describe()}"
    inputs = {"target": setting.target, "draft": drafted}
    return Node("checks", label, settings, inputs, code, build)
