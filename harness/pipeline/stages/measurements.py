"""The stages that measure acceptance and speed. Each function returns a node."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from draftmark import registry
from draftmark.analysis.titles import terms_title
from draftmark.config.recipe import MethodEntry
from draftmark.config.sections import SpeedCondition
from draftmark.environment import machine_facts
from draftmark.errors import Unsupported
from draftmark.pipeline.setting import TEXT_SEED, Setting
from draftmark.pipeline.stages.hidden_states import final_states_node, layer_states_node
from draftmark.pipeline.stages.texts import (
    conversation_inputs,
    read_prompts,
    responses_node,
)
from draftmark.speculation.interfaces import (
    Described,
    Engine,
    EngineSettings,
    FeatureMethod,
    Method,
    Running,
)
from draftmark.speculation.methods import drafting_knobs
from draftmark.store.acceptance_tables import write_tables
from draftmark.store.graph import Job, Node
from draftmark.store.records import TABLES
from draftmark.store.speed_records import Measurement, write_parts
from draftmark.types import GREEDY, Arm, Decode, Prompt, Samplers

if TYPE_CHECKING:
    from draftmark.engines.measure.timing import TimedArm

_TIMING_CODE = (
    "draftmark.engines.measure.timing",
    "draftmark.engines._meters",
    "draftmark.data.prompts",
    "draftmark.store.speed_records",
)


def scores_node(setting: Setting, entry: MethodEntry, draft: Node, samplers: Samplers) -> Node:
    """Return the node of a draft's acceptance tables on the target's test responses."""
    method = setting.method_of(entry)

    def build(job: Job) -> None:
        from draftmark.models.hidden_states import StoredHiddenStates, TargetLogits
        from draftmark.models.language_model import load_model

        placement = setting.placement()
        model = load_model(job.inputs["target"], placement)
        known = StoredHiddenStates.load(job.inputs["features"])
        drafter = method.drafter(job.inputs["draft"], placement.whole)
        layers = job.inputs.get("states")
        states = StoredHiddenStates.load(layers) if layers else None
        target, tables = TargetLogits(model, known, states), {}
        with job.progress.step("scoring", len(known.texts)) as step:
            for table in drafter.score(known.texts, target, samplers):
                tables[table.example_id] = replace(table, limit=setting.max_new_tokens)
                step.advance()
        write_tables(job.out / TABLES, [tables[text.example_id] for text in known.texts])

    texts = responses_node(setting, "test", samplers.target)
    read = final_states_node(setting, texts, "float32")
    inputs = {"target": setting.target, "draft": draft, "features": read}
    if isinstance(method, FeatureMethod):
        inputs["states"] = layer_states_node(setting, method, texts, "float32")
    label = f"acceptance of {draft.label}, {samplers.target.describe()}"
    settings = {"samplers": asdict(samplers), **_drafting(method)}
    code = (
        registry.module_name("baselines", entry.name),
        "draftmark.speculation.scoring",
        "draftmark.store.acceptance_tables",
    )
    task, action = setting.task.name, f"score {draft.object}, T={samplers.target.temperature:g}"
    return Node("scores", label, settings, inputs, code, build, task=task, action=action)


def decodes_node(
    setting: Setting, condition: SpeedCondition, entry: MethodEntry | None, draft: Node | None
) -> Node:
    """Return the node of an engine's interleaved runs with and without the draft.

    Without a method both arms are the target alone, which measures the noise floor.
    """
    method = setting.method_of(entry) if entry else None
    samplers = setting.recipe.samplers(condition.temperature)
    rows = setting.rows["test"].first(condition.num_prompts)

    def build(job: Job) -> None:
        from draftmark.engines.measure.timing import interleave_arms

        prompts = read_prompts(setting, job, rows.examples)
        settings = setting.engine_settings(condition, samplers, job.inputs["target"])
        arms, facts = _arms(condition.engine, method, job, settings)
        blocks = [prompts[start :: condition.blocks] for start in range(condition.blocks)]
        with job.progress.step("decoding", 4 * len(blocks)) as step:
            measured = interleave_arms(arms, blocks, step.advance, condition.batch_size)
        Measurement(*measured, {"engine": condition.engine, **facts}).save(job.out)

    settings = {
        **condition.settings(),
        **(_drafting(method) if method else {}),
        "samplers": asdict(samplers),
        "rows": rows.digest,
        **setting.prompt_settings,
        "max_new_tokens": setting.max_new_tokens,
        "stop": setting.stop,
        "seed": TEXT_SEED,
        # Times depend on the machine, so another machine measures again.
        "threads": setting.recipe.threads,
        "machine": machine_facts(),
        **setting.timed_placement,
    }
    terms = condition.label.replace(f"engine={condition.engine},", "")
    how = f"{condition.engine} engine, {terms_title(terms)}"
    label = f"target alone against {draft.label if draft else 'itself'}, {how}"
    inputs = {"target": setting.target} | ({"draft": draft} if draft else {})
    inputs |= conversation_inputs(setting, "test", samplers.target)
    code = (
        registry.module_name("engines", condition.engine),
        *([registry.module_name("baselines", entry.name)] if entry else []),
        *_TIMING_CODE,
    )
    task, action = setting.task.name, _timing(setting, condition, draft)
    return Node("decodes", label, settings, inputs, code, build, task=task, action=action)


def _timing(setting: Setting, condition: SpeedCondition, draft: Node | None) -> str:
    """Return what is timed, with the terms in which the recipe's conditions differ."""
    speed = setting.recipe.speed
    labels = [each.label.split(",") for each in speed.conditions()] if speed else []
    terms = [term for term in condition.label.split(",") if not all(term in it for it in labels)]
    name = draft.object if draft else "the target alone"
    return ", ".join(filter(None, (f"time {name}", terms_title(",".join(terms)))))


def pass_times_node(setting: Setting, entry: MethodEntry, draft: Node) -> Node:
    """Return the node of the timed passes of draft and target that the cost model needs."""
    speed, method = setting.recipe.speed, setting.method_of(entry)
    assert speed is not None
    conditions = speed.conditions()
    batch_sizes = sorted({condition.batch_size for condition in conditions})
    longest = max(condition.num_speculative_tokens for condition in conditions)
    rows = setting.rows["test"].first(conditions[0].num_prompts)

    def build(job: Job) -> None:
        from draftmark.engines.measure.cost_model_timing import time_passes

        prompts = read_prompts(setting, job, rows.examples)
        lengths = sorted(len(prompt.token_ids) for prompt in prompts)
        median = lengths[len(lengths) // 2]
        write_parts(
            job.out,
            time_passes(
                job.inputs,
                method,
                setting.placement(speed.dtype),
                batch_sizes=batch_sizes,
                longest_block=longest,
                contexts=(median, median + setting.max_new_tokens // 2),
            ),
        )

    settings = {
        **_drafting(method),
        "batch_sizes": batch_sizes,
        "longest_block": longest,
        "dtype": speed.dtype,
        "rows": rows.digest,
        **setting.prompt_settings,
        "max_new_tokens": setting.max_new_tokens,
        "threads": setting.recipe.threads,
        "machine": machine_facts(),
        **setting.timed_placement,
    }
    label = f"parts of a block, {draft.label}"
    inputs = {"target": setting.target, "draft": draft}
    inputs |= conversation_inputs(setting, "test", GREEDY)
    code = (
        registry.module_name("baselines", entry.name),
        "draftmark.engines.measure.cost_model_timing",
        "draftmark.data.prompts",
    )
    task, action = setting.task.name, f"time passes of {draft.object}"
    return Node("parts", label, settings, inputs, code, build, task=task, action=action)


def _drafting(method: Method) -> dict[str, Any]:
    """Return the settings of the knobs that no draft's key has; empty at their defaults."""
    knobs = drafting_knobs(method)
    return {"drafting": knobs} if knobs else {}


def _arms(
    name: str, method: Method | None, job: Job, settings: EngineSettings
) -> tuple[dict[Arm, "TimedArm"], dict[str, Any]]:
    """Return both arms, opened, and the facts that their engines report, by arm.

    Without a method the draft's arm is the target alone too.
    """
    from draftmark.engines._meters import MachineMeter
    from draftmark.engines.measure.timing import TimedArm

    engine = engine_for(name, method)
    models: dict[Arm, tuple[Method | None, Path | None]] = {
        "target": (None, None),
        "draft": (method, job.inputs.get("draft")),
    }
    arms: dict[Arm, TimedArm] = {}
    facts: dict[str, Any] = {}
    for arm, (drafting, directory) in models.items():
        meter = MachineMeter(settings.placement.device)
        load = partial(engine.open, job.inputs["target"], drafting, directory, settings)
        running = meter.measure_load(load)
        arms[arm] = TimedArm(partial(_decoded, running), meter)
        if isinstance(running, Described):
            facts[arm] = dict(running.describe())
    return arms, facts


def _decoded(running: Running, prompts: Sequence[Prompt]) -> Sequence[Decode]:
    return list(running.generate(prompts))


def engine_for(name: str, method: Method | None) -> Engine:
    """Return an engine by name; raises Unsupported if it does not run drafts of this method."""
    engine: Engine = registry.find_registered("engines", name)
    if method and not engine.supports(method.kind):
        raise Unsupported(
            f"The {name} engine does not run {method.kind} drafts; choose another speed.engine, or "
            "speed = false."
        )
    return engine
