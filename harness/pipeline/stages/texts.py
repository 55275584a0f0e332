"""The stages: each a pure function of its key, which hashes exactly what decides its bytes.

target -> responses -> features -> draft -> scores, decodes -> grades (DESIGN section 3). A function
here makes the node of the graph; the work is done by the module that the node names as its code.
torch is imported where a stage runs, so that a plan costs nothing.
"""

from dataclasses import asdict
from pathlib import Path

from draftmark.config.sections import Samples
from draftmark.data.rows import MISSING
from draftmark.models.files import end_tokens, model_digest
from draftmark.pipeline.setting import ROWS_PER_BATCH, TEXT_SEED, Setting
from draftmark.store.graph import Job, Node
from draftmark.store.records import TEXTS, read_texts, write_texts
from draftmark.types import Sampler, Split, Text


def given(stage: str, reference: str, directory: Path, *, trust_remote_code: bool) -> Node:
    """Return the node of a model as it is, named by its files' hash."""
    settings = {
        "digest": model_digest(directory),
        "end_tokens": sorted(end_tokens(directory)),
        "trust_remote_code": trust_remote_code,
    }
    return Node(stage, f"{stage} {reference}", settings, {}, code=(), existing_folder=directory)


def absent(stage: str, reference: str) -> Node:
    """Return the node of a model that is not here: a plan can go on, a run cannot."""
    settings = {"digest": MISSING + reference, "end_tokens": []}
    return Node(stage, f"{stage} {reference}", settings, {}, code=())


def gold_texts(setting: Setting, split: Split) -> Node:
    """Return the node of the gold answers of a split as texts."""

    def build(job: Job) -> None:
        from draftmark.data.prompts import encode_gold

        tokenizer = setting.tokenizer(job.inputs["target"])
        examples = setting.rows[split].examples
        texts = encode_gold(tokenizer, examples, setting.end_tokens, setting.format)
        write_texts(job.out / TEXTS, texts)

    settings = {
        "source": "dataset",
        "rows": setting.rows[split].digest,
        "format": setting.format,
    }
    label = f"gold answers, {split}"
    code = ("draftmark.data.prompts", "draftmark.store.records")
    return Node("responses", label, settings, {"target": setting.target}, code, build)


def questions(setting: Setting, split: Split) -> Node:
    """Return the node of the prompts of a split, which a draft answers while it is trained."""

    def build(job: Job) -> None:
        prompts = setting.prompts(job.inputs["target"], setting.rows[split].examples)
        write_texts(
            job.out / TEXTS, [Text(item.example_id, item.token_ids, ()) for item in prompts]
        )

    settings = {
        "source": "draft",
        "rows": setting.rows[split].digest,
        "format": setting.format,
    }
    label = f"questions for the draft to answer in training, {split}"
    code = ("draftmark.data.prompts", "draftmark.store.records")
    return Node("responses", label, settings, {"target": setting.target}, code, build)


def responses(
    setting: Setting,
    split: Split,
    sampler: Sampler,
    of: Node | None = None,
    samples: Samples | None = None,
) -> Node:
    """Return the node of the responses that a model, the target if none is given, writes.

    One to each prompt, or as many as `samples` says: all first ones, then all second ones ...
    """
    rows = setting.rows[split].first(samples.prompts if samples else None)
    count = samples.count if samples else 1

    def build(job: Job) -> None:
        from draftmark.models.generation import Sampling, generate
        from draftmark.models.language_model import load_model

        prompts = setting.prompts(job.inputs["target"], rows.examples)
        model = load_model(job.inputs["model"], setting.placement())
        limits = (setting.max_new_tokens, setting.end_tokens)
        stop = setting.stop_strings(job.inputs["target"])
        texts = []
        with job.progress.step("generating", count * len(prompts)) as step:
            for sample in range(count):  # each in batches of its own: the same however many follow
                sampling = Sampling(sampler, *limits, TEXT_SEED, sample, stop)
                texts += generate(
                    model, prompts, sampling, rows_per_batch=ROWS_PER_BATCH, step=step
                )
        write_texts(job.out / TEXTS, texts)

    settings = {
        "source": "model",
        "rows": rows.digest,
        "format": setting.format,
        "sampler": asdict(sampler),
        "max_new_tokens": setting.max_new_tokens,
        "stop": setting.stop,
        "rows_per_batch": ROWS_PER_BATCH,
        "seed": TEXT_SEED,
        **({"count": count} if samples else {}),
    }
    whose = f"{of.label}'s" if of else "target's"
    label = f"{whose} responses, {split}, {sampler.describe()}"
    label += f", {count} to a prompt" if samples else ""
    inputs = {"model": of or setting.target, "target": setting.target}
    code = ("draftmark.models.generation", "draftmark.data.prompts", "draftmark.store.records")
    return Node("responses", label, settings, inputs, code, build)


def features(setting: Setting, texts: Node, dtype: str) -> Node:
    """Return the node of the target's hidden states on texts."""

    def build(job: Job) -> None:
        from draftmark.models.hidden_states import write_features
        from draftmark.models.language_model import load_model

        read = read_texts(job.inputs["texts"] / TEXTS)
        model = load_model(job.inputs["target"], setting.placement())
        with job.progress.step("reading", len(read)) as step:
            write_features(model, read, job.out, dtype=dtype, step=step)

    inputs = {"target": setting.target, "texts": texts}
    label = f"target's hidden states on {texts.label}"
    return Node(
        "features", label, {"dtype": dtype}, inputs, ("draftmark.models.hidden_states",), build
    )
