"""The stages that measure acceptance and speed: as in `stages`, a function makes a node."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from harness import registry
from harness.config import MethodEntry
from harness.environment import machine
from harness.errors import UserError
from harness.graph import Job, Node
from harness.nodes.feature_stages import states as states_of
from harness.protocols import Engine, EngineSettings, FeatureMethod, Method
from harness.stages import TEXT_SEED, Setting, features, responses
from harness.storage.records import (
    DECODES,
    TABLES,
    write_decodes,
    write_tables,
)
from harness.types import Arm, Decode, Prompt, Samplers


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


def decodes(setting: Setting, entry: MethodEntry, drafted: Node) -> Node:
    """Return the node of an engine's runs with and without the draft, interleaved."""
    speed, method = setting.recipe.speed, entry.build()
    assert speed is not None
    samplers = setting.recipe.samplers(speed.temperature)
    rows = setting.rows["test"].first(speed.blocks * speed.prompts_per_block)

    def build(job: Job) -> None:
        from harness.timing import interleave

        prompts = setting.prompts(job.inputs["target"], rows.examples)
        settings = setting.decoding(speed, samplers, job.inputs["target"])
        arms = _arms(speed.engine, method, job, settings)
        blocks = [prompts[start :: speed.blocks] for start in range(speed.blocks)]
        with job.progress.step("decoding", 4 * len(blocks)) as step:
            write_decodes(job.out / DECODES, interleave(arms, blocks, step.advance))

    inputs = {"target": setting.target, "draft": drafted}
    settings = {
        **speed.model_dump(mode="json"),
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
    label = f"{speed.engine} engine, target alone against {drafted.label}"
    code = (
        registry.module_name("engines", speed.engine),
        registry.module_name("baselines", entry.name),
        "harness.timing",
        "harness.responses.prompts",
        "harness.storage.records",
    )
    return Node("decodes", label, settings, inputs, code, build)


def _arms(
    name: str, method: Method, job: Job, settings: EngineSettings
) -> dict[Arm, Callable[[Sequence[Prompt]], Sequence[Decode]]]:
    """Return what decodes with the target alone, and with the draft."""
    engine = engine_for(name, method)
    alone = engine.open(job.inputs["target"], None, None, settings)
    together = engine.open(job.inputs["target"], method, job.inputs["draft"], settings)
    return {
        "target": lambda some: list(alone.generate(some)),
        "draft": lambda some: list(together.generate(some)),
    }


def engine_for(name: str, method: Method) -> Engine:
    """Return an engine by its name; raises UserError if it does not run the method's drafts."""
    engine: Engine = registry.find("engines", name)
    if not engine.supports(method.kind):
        raise UserError(
            f"The {name} engine does not run {method.kind} drafts; choose another speed.engine, or "
            "speed = false."
        )
    return engine
