"""The stages that measure acceptance and speed: as in `stages`, a function makes a node."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.config import MethodEntry
from harness.environment import machine
from harness.errors import Unsupported
from harness.graph import Job, Node
from harness.nodes.feature_stages import states as states_of
from harness.protocols import (
    Described,
    Engine,
    EngineSettings,
    FeatureMethod,
    Method,
    Running,
)
from harness.settings.sections import Condition
from harness.stages import TEXT_SEED, Setting, features, responses
from harness.storage.records import TABLES, write_tables
from harness.storage.speed_records import Measurement, write_parts
from harness.types import Arm, Decode, Prompt, Samplers

if TYPE_CHECKING:
    from harness.timing import TimedArm


def scores(setting: Setting, entry: MethodEntry, drafted: Node, samplers: Samplers) -> Node:
    """Return the node of a draft's acceptance tables on the target's test responses."""
    method = entry.build()

    def build(job: Job) -> None:
        from harness.heads.states import States
        from harness.models import load_model
        from harness.teacher import Features, TargetLaws

        placement = setting.placement()
        model = load_model(job.inputs["target"], placement)
        known = Features.load(job.inputs["features"])
        drafter = method.drafter(job.inputs["draft"], placement)
        states = States.load(job.inputs["states"]) if "states" in job.inputs else None
        laws, tables = TargetLaws(model, known, states), {}
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
        "harness.scoring",
        "harness.storage.records",
    )
    return Node("scores", label, settings, inputs, code, build)


def decodes(
    setting: Setting, under: Condition, entry: MethodEntry | None, drafted: Node | None
) -> Node:
    """Return the node of an engine's runs with and without the draft, interleaved.

    Without a method both arms are the target alone: what the difference of nothing measures as.
    """
    method = entry.build() if entry else None
    samplers = setting.recipe.samplers(under.temperature)
    rows = setting.rows["test"].first(under.num_prompts)

    def build(job: Job) -> None:
        from harness.timing import interleave

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
        "harness.timing",
        "harness.engines._meters",
        "harness.responses.prompts",
        "harness.storage.speed_records",
    )
    return Node("decodes", label, settings, inputs, code, build)


def part_times(setting: Setting, entry: MethodEntry, drafted: Node) -> Node:
    """Return the node of what a draft's step and the target's passes take by themselves."""
    speed, method = setting.recipe.speed, entry.build()
    assert speed is not None
    conditions = speed.conditions()
    batch_sizes = sorted({under.batch_size for under in conditions})
    longest = max(under.num_speculative_tokens for under in conditions)
    rows = setting.rows["test"].first(conditions[0].num_prompts)

    def build(job: Job) -> None:
        from harness.analysis.part_times import time_parts

        prompts = setting.prompts(job.inputs["target"], rows.examples)
        lengths = sorted(len(prompt.token_ids) for prompt in prompts)
        middle = lengths[len(lengths) // 2]
        write_parts(
            job.out,
            time_parts(
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
        "harness.analysis.part_times",
        "harness.responses.prompts",
    )
    return Node("parts", label, settings, inputs, code, build)


def _arms(
    name: str, method: Method | None, job: Job, settings: EngineSettings
) -> tuple[dict[Arm, "TimedArm"], dict[str, Any]]:
    """Return what decodes with the target alone and with the draft, and what each tells of itself.

    Without a method the second arm is the first once more.
    """
    from harness.engines._meters import MachineMeter
    from harness.timing import TimedArm

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
        running = meter.opening(load)
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
