"""`draftmark verify`: lossless checks of a run's drafts, as stages that are not part of the run.

Each stage runs the recipe's engine on a few prompts at one of the recipe's temperatures. Texts that
an engine wrote for the target are held to the target's distribution. The checks are stored like any
other result.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from draftmark import registry
from draftmark.config.recipe import MethodEntry
from draftmark.config.sections import Speed, SpeedCondition
from draftmark.errors import UserError
from draftmark.pipeline.executor import ensure_entry
from draftmark.pipeline.experiment import Plan
from draftmark.pipeline.preflight import check_models
from draftmark.pipeline.setting import TEXT_SEED, Setting
from draftmark.pipeline.stages.measurements import engine_for
from draftmark.pipeline.stages.texts import conversation_inputs, read_prompts, responses_node
from draftmark.progress import Progress
from draftmark.results import Cell
from draftmark.store.graph import Job, Node, topological_order
from draftmark.store.records import TEXTS, read_texts
from draftmark.store.store import Store, write_json
from draftmark.types import Sampler, Split

CHECKS = "checks.json"
FILE = "lossless.json"


def verify_run(
    plan: Plan, store: Store, progress: Progress, num_prompts: int
) -> list[dict[str, Any]]:
    """Return the checks of every cell whose draft is in the store, as JSON.

    A damaged draft is trained again. Raises UserError if a model is not as a run needs it, or if
    the store has no draft of the run: the run has another store, or code or rows have changed.
    """
    check_models(plan, progress)
    cells = [cell for cell in plan.cells if store.has(plan.draft(cell))]
    if not cells:
        raise UserError(
            f"No draft of this run is in {store.root}; name its store with --store and its rows "
            "with --data, or run the recipe again."
        )
    found = []
    for cell in cells:
        setting = plan.setting(cell)
        method = setting.recipe.method(cell.method)
        for temperature in plan.recipe.evaluation.temperatures:
            node = checks_node(setting, method, plan.draft(cell), temperature, num_prompts)
            entry = ensure_entry(node, store, progress, threads=plan.recipe.threads)
            for check in json.loads((entry.directory / CHECKS).read_text("utf-8")):
                found.append({"cell": asdict(cell), "temperature": temperature, **check})
        for split, sampler in _written_texts(setting, method):
            node = text_checks_node(setting, split, sampler, num_prompts)
            entry = ensure_entry(node, store, progress, threads=plan.recipe.threads)
            for check in json.loads((entry.directory / CHECKS).read_text("utf-8")):
                at = {"cell": asdict(cell), "temperature": sampler.temperature}
                found.append({**at, **check, "name": f"{split} texts: {check['name']}"})
        for read in _read_states(plan, cell):
            node = states_check_node(setting, read, num_prompts)
            entry = ensure_entry(node, store, progress, threads=plan.recipe.threads)
            sampler = read.inputs["texts"].settings.get("sampler", {})
            at = {"cell": asdict(cell), "temperature": sampler.get("temperature", 0.0)}
            for check in json.loads((entry.directory / CHECKS).read_text("utf-8")):
                found.append({**at, **check, "name": f"{read.label}: {check['name']}"})
    return found


def _read_states(plan: Plan, cell: Cell) -> Iterator[Node]:
    """Yield the stages behind a cell in which an engine read the target's states."""
    draft = plan.draft(cell)
    scores = [node for node in plan.nodes if node.stage == "scores"]
    own = [node for node in scores if node.inputs["draft"].key == draft.key]
    for node in topological_order([draft, *own]):
        if node.stage == "features" and "engine" in node.settings:
            yield node


def states_check_node(setting: Setting, read: Node, num_prompts: int) -> Node:
    """Return the node of the check that states which an engine read are the target's."""
    dtype = read.settings["engine"]["dtype"]

    def build(job: Job) -> None:
        from draftmark.engines.measure.read_states import check_read
        from draftmark.models.hidden_states import StoredHiddenStates
        from draftmark.models.language_model import load_model

        stored = StoredHiddenStates.load(job.inputs["states"])
        exact = load_model(job.inputs["target"], setting.placement())
        lowered = dtype != "float32"
        plain = load_model(job.inputs["target"], setting.placement(dtype)) if lowered else exact
        check = check_read(stored, stored.texts[:num_prompts], exact, plain)
        write_json(job.out / CHECKS, [asdict(check)])

    inputs = {"target": setting.target, "states": read}
    settings, code = {"prompts": num_prompts}, ("draftmark.engines.measure.read_states",)
    label, action = f"check of {read.label}", f"check {read.object}"
    task = setting.task.name
    return Node("checks", label, settings, inputs, code, build, task=task, action=action)


def _written_texts(setting: Setting, entry: MethodEntry) -> Iterator[tuple[Split, Sampler]]:
    """Yield the split and sampler of the target's texts behind a cell that an engine wrote."""
    recipe = setting.recipe
    if recipe.responses.engine == "draftmark":
        return
    if setting.method_of(entry).trains:
        training = recipe.training_of(entry)
        if "target" in training.shares:
            yield "train", Sampler(training.text_temperature)
        yield "validation", Sampler(1.0)
    for temperature in recipe.evaluation.temperatures:
        yield "test", recipe.samplers(temperature).target


def text_checks_node(setting: Setting, split: Split, sampler: Sampler, num_prompts: int) -> Node:
    """Return the node of the check that the target's first texts of a split are the target's."""
    dtype = setting.recipe.responses.dtype

    def build(job: Job) -> None:
        from draftmark.engines.measure.lossless import check_written
        from draftmark.models.language_model import load_model

        texts = read_texts(job.inputs["texts"] / TEXTS)[:num_prompts]
        target = load_model(job.inputs["target"], setting.placement())
        write_json(job.out / CHECKS, [asdict(check_written(texts, target, sampler, dtype))])

    texts = responses_node(setting, split, sampler)
    settings = {"sampler": asdict(sampler), "dtype": dtype, "prompts": num_prompts}
    code = ("draftmark.engines.measure.lossless",)
    inputs = {"target": setting.target, "texts": texts}
    label = f"check of {texts.label}"
    task, action = setting.task.name, f"check {texts.object}"
    return Node("checks", label, settings, inputs, code, build, task=task, action=action)


def save_checks(found: Sequence[Mapping[str, Any]], plan: Plan, directory: Path) -> None:
    """Write the checks, with their engine and dtype, beside a run's results."""
    condition = _condition(plan.recipe.speed)
    facts = {"engine": condition.engine, "dtype": condition.dtype, "checks": list(found)}
    write_json(directory / FILE, facts)


def failed_cells(found: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """Return the cells that failed a check."""
    return [Cell(**check["cell"]) for check in found if not check["passed"]]


def _condition(speed: Speed | None) -> SpeedCondition:
    """Return the recipe's first speed condition, one prompt at a time and up to end tokens."""
    return replace((speed or Speed()).conditions()[0], batch_size=1, length="natural")


def checks_node(
    setting: Setting, entry: MethodEntry, draft: Node, temperature: float, num_prompts: int
) -> Node:
    """Return the node of the lossless checks of a draft at a temperature."""
    condition, method = _condition(setting.recipe.speed), setting.method_of(entry)
    samplers = setting.recipe.samplers(temperature)
    rows = setting.rows["test"].first(num_prompts)

    def build(job: Job) -> None:
        from draftmark.engines.measure.lossless import run_checks

        settings = setting.engine_settings(condition, samplers, job.inputs["target"])
        prompts = read_prompts(setting, job, rows.examples)
        engine = engine_for(condition.engine, method)
        with job.progress.step("checking", 4) as step:
            found = run_checks(engine, method, job.inputs, settings, prompts, step)
        write_json(job.out / CHECKS, [asdict(check) for check in found])

    settings = {
        "engine": condition.engine,
        "num_speculative_tokens": condition.num_speculative_tokens,
        "dtype": condition.dtype,
        "samplers": asdict(samplers),
        "rows": rows.digest,
        **setting.prompt_settings,
        "max_new_tokens": setting.max_new_tokens,
        "stop": setting.stop,
        "seed": TEXT_SEED,
        **({"verification": "block"} if condition.verification == "block" else {}),
    }
    code = (
        registry.module_name("engines", condition.engine),
        registry.module_name("baselines", entry.name),
        "draftmark.engines.measure.lossless",
        "draftmark.data.prompts",
    )
    label = f"lossless checks of {draft.label}, {samplers.target.describe()}"
    inputs = {"target": setting.target, "draft": draft}
    inputs |= conversation_inputs(setting, "test", samplers.target)
    task, action = setting.task.name, f"check {draft.object}"
    return Node("checks", label, settings, inputs, code, build, task=task, action=action)
