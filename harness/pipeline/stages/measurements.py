"""The stages that measure acceptance and speed: as in `stages`, a function makes a node."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from draftmark import registry
from draftmark.config.recipe import MethodEntry
from draftmark.config.sections import SpeedCondition
from draftmark.environment import machine
from draftmark.errors import Unsupported
from draftmark.pipeline.setting import TEXT_SEED, Setting
from draftmark.pipeline.stages.layer_states import states as states_of
from draftmark.pipeline.stages.texts import features, responses
from draftmark.speculation.build_method import build_method
from draftmark.speculation.interfaces import (
    Described,
    Engine,
    EngineSettings,
    FeatureMethod,
    Method,
    Running,
)
from draftmark.store.acceptance_tables import write_tables
from draftmark.store.graph import Job, Node
from draftmark.store.records import TABLES
from draftmark.store.speed_records import Measurement, write_parts
from draftmark.types import Arm, Decode, Prompt, Samplers

if TYPE_CHECKING:
    from draftmark.engines.measure.timing import TimedArm


def scores(setting: Setting, entry: MethodEntry, drafted: Node, samplers: Samplers) -> Node:
    """Return the node of a draft's acceptance tables on the target's test responses."""
    method = build_method(entry)

    def build(job: Job) -> None:
        from draftmark.models.hidden_states import Features, TargetLogits
        from draftmark.models.language_model import load_model
        from draftmark.models.layer_states import States

        placement = setting.placement()
        model = load_model(job.inputs["target"], placement)
        known = Features.load(job.inputs["features"])
        drafter = method.drafter(job.inputs["draft"], placement)
        states = States.load(job.inputs["states"]) if "states" in job.inputs else None
        laws, tables = TargetLogits(model, known, states), {}
        with job.progress.step("scoring", len(known.texts)) as step:
            for table in drafter.score(known.texts, laws, samplers):
                tables[table.example_id] = table
                step.advance()
        write_tables(job.out / TABLES, [tables[text.example_id] for text in known.texts])

    texts = responses(setting, "test", samplers.target)
    read = features(setting, texts, "float32")
    inputs = {"target": setting.target, "draft": drafted, "features": read}
    if isinstance(method, FeatureMethod):
        inputs["states"] = states_of(setting, method, texts, "float32")
    label = f"acceptance of {drafted.label}, {samplers.target.describe()}"
    settings = {"samplers": asdict(samplers)}
    code = (
        registry.module_name("baselines", entry.name),
        "draftmark.speculation.scoring",
        "draftmark.store.acceptance_tables",
    )
    return Node("scores", label, settings, inputs, code, build)


def decodes(
    setting: Setting, under: SpeedCondition, entry: MethodEntry | None, drafted: Node | None
) -> Node:
    """Return the node of an engine's runs with and without the draft, interleaved.

    Without a method both arms are the target alone: what the difference of nothing measures as.
    """
    method = build_method(entry) if entry else None
    samplers = setting.recipe.samplers(under.temperature)
    rows = setting.rows["test"].first(under.num_prompts)

    def build(job: Job) -> None:
        from draftmark.engines.measure.timing import interleave

        prompts = setting.prompts(job.inputs["target"], rows.examples)
        settings = setting.decoding(under, samplers, job.inputs["target"])
        arms, told = _arms(under.engine, method, job, settings)
        blocks = [prompts[start :: under.blocks] for start in range(under.blocks)]
        with job.progress.step("decoding", 4 * len(blocks)) as step:
            measured = interleave(arms, blocks, step.advance, under.batch_size)
        Measurement(*measured, {"engine": under.engine, **told}).save(job.out)

    settings = {
        **under.settings(),
        "samplers": asdict(samplers),
        "rows": rows.digest,
        "format": setting.format,
        "max_new_tokens": setting.max_new_tokens,
        "stop": setting.stop,
        "seed": TEXT_SEED,
        # Times are of a machine: on another one they are taken again.
        "threads": setting.recipe.threads,
        "machine": machine(),
    }
    against = drafted.label if drafted else "itself"
    label = f"{under.engine} engine, target alone against {against}, {under.label}"
    inputs = {"target": setting.target} | ({"draft": drafted} if drafted else {})
    code = (
        registry.module_name("engines", under.engine),
        *([registry.module_name("baselines", entry.name)] if entry else []),
        "draftmark.engines.measure.timing",
        "draftmark.engines._meters",
        "draftmark.data.prompts",
        "draftmark.store.speed_records",
    )
    return Node("decodes", label, settings, inputs, code, build)


def part_times(setting: Setting, entry: MethodEntry, drafted: Node) -> Node:
    """Return the node of what a draft's step and the target's passes take by themselves."""
    speed, method = setting.recipe.speed, build_method(entry)
    assert speed is not None
    conditions = speed.conditions()
    batch_sizes = sorted({under.batch_size for under in conditions})
    longest = max(under.num_speculative_tokens for under in conditions)
    rows = setting.rows["test"].first(conditions[0].num_prompts)

    def build(job: Job) -> None:
        from draftmark.engines.measure.cost_model_timing import time_passes

        prompts = setting.prompts(job.inputs["target"], rows.examples)
        lengths = sorted(len(prompt.token_ids) for prompt in prompts)
        middle = lengths[len(lengths) // 2]
        write_parts(
            job.out,
            time_passes(
                job.inputs,
                method,
                setting.placement(speed.dtype),
                batch_sizes=batch_sizes,
                longest_block=longest,
                contexts=(middle, middle + setting.max_new_tokens // 2),
            ),
        )

    settings = {
        "batch_sizes": batch_sizes,
        "longest_block": longest,
        "dtype": speed.dtype,
        "rows": rows.digest,
        "format": setting.format,
        "max_new_tokens": setting.max_new_tokens,
        "threads": setting.recipe.threads,
        "machine": machine(),
    }
    label = f"parts of a block, {drafted.label}"
    inputs = {"target": setting.target, "draft": drafted}
    code = (
        registry.module_name("baselines", entry.name),
        "draftmark.engines.measure.cost_model_timing",
        "draftmark.data.prompts",
    )
    return Node("parts", label, settings, inputs, code, build)


def _arms(
    name: str, method: Method | None, job: Job, settings: EngineSettings
) -> tuple[dict[Arm, "TimedArm"], dict[str, Any]]:
    """Return what decodes with the target alone and with the draft, and what each tells of itself.

    Without a method the second arm is the first once more.
    """
    from draftmark.engines._meters import MachineMeter
    from draftmark.engines.measure.timing import TimedArm

    engine = engine_for(name, method)
    opened: dict[Arm, tuple[Method | None, Path | None]] = {
        "target": (None, None),
        "draft": (method, job.inputs.get("draft")),
    }
    arms: dict[Arm, TimedArm] = {}
    told: dict[str, Any] = {}
    for arm, (drafting, draft) in opened.items():
        meter = MachineMeter(settings.placement.device)
        load = partial(engine.open, job.inputs["target"], drafting, draft, settings)
        running = meter.measure_load(load)
        arms[arm] = TimedArm(partial(_decoded, running), meter)
        if isinstance(running, Described):
            told[arm] = dict(running.describe())
    return arms, told


def _decoded(running: Running, prompts: Sequence[Prompt]) -> Sequence[Decode]:
    return list(running.generate(prompts))


def engine_for(name: str, method: Method | None) -> Engine:
    """Return an engine by its name; raises Unsupported if it does not run the method's drafts."""
    engine: Engine = registry.find("engines", name)
    if method and not engine.supports(method.kind):
        raise Unsupported(
            f"The {name} engine does not run {method.kind} drafts; choose another speed.engine, or "
            "speed = false."
        )
    return engine
