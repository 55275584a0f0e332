"""The stages that measure: scores, decodes, grades. As in `stages`, a function makes a node."""

from collections.abc import Callable, Sequence
from pathlib import Path

from harness import registry
from harness.config import MethodEntry
from harness.data import Rows
from harness.graph import Job, Node
from harness.records import (
    read_decodes,
    read_rows,
    write_decodes,
    write_rows,
    write_tables,
)
from harness.stages import TEXT_SEED, TEXTS, Setting, features, responses
from harness.types import Decode, EngineSettings, Prompt

TABLES, DECODES, GRADES = "tables.parquet", "decodes.parquet", "grades.parquet"


def scores(setting: Setting, entry: MethodEntry, drafted: Node, temperature: float) -> Node:
    """Return the node of a draft's acceptance tables on the target's test responses."""
    method = entry.build()

    def build(job: Job) -> None:
        from harness.models import load_model, pick_device
        from harness.teacher import Features, TargetLaws

        device = pick_device()
        model = load_model(
            job.inputs["target"], device=device, trust_remote_code=setting.pair.trust_remote_code
        )
        known = Features.load(job.inputs["features"])
        drafter = method.drafter(job.inputs["draft"], device=device)
        tables = {}
        with job.progress.step("scoring", len(known.texts)) as step:
            for table in drafter.score(known.texts, TargetLaws(model, known), temperature):
                tables[table.example_id] = table
                step.advance()
        write_tables(job.out / TABLES, [tables[text.example_id] for text in known.texts])

    inputs = {
        "target": setting.target,
        "draft": drafted,
        "features": features(setting, responses(setting, "test", temperature), "float32"),
    }
    label = f"acceptance of {drafted.label}, temperature {temperature:g}"
    settings = {"temperature": temperature}
    code = (registry.module_name("baselines", entry.name), "harness.scoring")
    return Node("scores", label, settings, inputs, code, build)


def decodes(setting: Setting, entry: MethodEntry, drafted: Node) -> Node:
    """Return the node of an engine's runs with and without the draft, interleaved."""
    speed, method = setting.recipe.speed, entry.build()
    assert speed is not None
    examples = setting.rows["test"].examples[: speed.blocks * speed.prompts_per_block]

    def build(job: Job) -> None:
        from harness.model_files import end_tokens
        from harness.models import load_tokenizer, pick_device
        from harness.prompts import encode_prompts
        from harness.timing import Arm, interleave

        engine = registry.find("engines", speed.engine)
        tokenizer = load_tokenizer(
            job.inputs["target"], trust_remote_code=setting.pair.trust_remote_code
        )
        prompts = encode_prompts(tokenizer, examples)
        settings = EngineSettings(
            temperature=speed.temperature,
            num_speculative_tokens=speed.num_speculative_tokens,
            max_new_tokens=setting.max_new_tokens,
            end_tokens=end_tokens(job.inputs["target"]),
            seed=TEXT_SEED,
            dtype=speed.dtype,
            device=pick_device(),
            trust_remote_code=setting.pair.trust_remote_code,
        )
        alone = engine.open(job.inputs["target"], None, None, settings)
        together = engine.open(job.inputs["target"], method, job.inputs["draft"], settings)
        blocks = [prompts[start :: speed.blocks] for start in range(speed.blocks)]
        arms: dict[Arm, Callable[[Sequence[Prompt]], Sequence[Decode]]] = {
            "target": lambda some: list(alone.generate(some)),
            "draft": lambda some: list(together.generate(some)),
        }
        with job.progress.step("decoding", 4 * len(blocks)) as step:
            write_decodes(job.out / DECODES, interleave(arms, blocks, step.advance))

    inputs = {"target": setting.target, "draft": drafted}
    settings = {
        **speed.model_dump(mode="json"),
        "rows": Rows(examples, "").digest,
        "max_new_tokens": setting.max_new_tokens,
        "seed": TEXT_SEED,
    }
    label = f"{speed.engine} engine, target alone against {drafted.label}"
    code = (registry.module_name("engines", speed.engine), "harness.timing", "harness.prompts")
    return Node("decodes", label, settings, inputs, code, build)


def grades(setting: Setting, texts: Node) -> Node:
    """Return the node of the quality of responses, or of each arm's decodes."""

    def build(job: Job) -> None:
        from harness.models import load_tokenizer

        tokenizer = load_tokenizer(
            job.inputs["target"], trust_remote_code=setting.pair.trust_remote_code
        )
        examples = {example.id: example for example in setting.rows["test"].examples}
        rows = [
            {
                "arm": arm,
                "example_id": example_id,
                "num_tokens": len(ids),
                "text": (text := tokenizer.decode(ids, skip_special_tokens=True)),
                **setting.task.grade(examples[example_id], text),
            }
            for arm, example_id, ids in _answers(job.inputs["texts"])
        ]
        write_rows(job.out / GRADES, rows)

    inputs = {"target": setting.target, "texts": texts}
    settings = {"version": setting.task.version, "rows": setting.rows["test"].digest}
    label = f"{setting.task.name} quality of {texts.label}"
    code = (registry.module_name("tasks", setting.task.name),)
    return Node("grades", label, settings, inputs, code, build)


def _answers(directory: Path) -> list[tuple[str, str, Sequence[int]]]:
    """Return (arm, example id, token ids) of a folder of responses or of decodes."""
    if (directory / DECODES).exists():
        timed = read_decodes(directory / DECODES)
        return [
            (item.arm, item.decode.example_id, item.decode.token_ids)
            for item in timed
            if item.repeat == 0
        ]
    return [
        ("alone", row["example_id"], row["response_ids"]) for row in read_rows(directory / TEXTS)
    ]
