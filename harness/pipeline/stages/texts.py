"""The stages of models and texts. A stage is a pure function of its key.

The key hashes exactly what decides the bytes of a result: target -> responses -> features -> draft
-> scores, decodes -> grades. Each function here returns a node of the graph; the modules that the
node names as its code do the work. torch is imported only when a stage runs: planning stays cheap.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from draftmark.config.sections import Samples, TargetEngine
from draftmark.data.conversations import (
    by_turn,
    has_later_turns,
    with_context,
    with_gold_answers,
)
from draftmark.data.rows import MISSING, Rows
from draftmark.errors import UserError
from draftmark.models.files import end_tokens, model_facts
from draftmark.pipeline.setting import ROWS_PER_BATCH, TEXT_SEED, Setting
from draftmark.store.graph import Build, Job, Node, json_digest
from draftmark.store.records import ENGINE, TEXTS, read_texts, write_texts
from draftmark.store.store import write_json
from draftmark.types import Example, Prompt, Sampler, Split, Text

VLLM_CHILD = "draftmark.engines._vllm.server"  # the module that runs in vLLM's process
_OWN_SETTINGS: Mapping[str, Any] = {"rows_per_batch": ROWS_PER_BATCH}


def existing_model_node(
    stage: str, reference: str, directory: Path, *, trust_remote_code: bool, head: bool = False
) -> Node:
    """Return the node of a model in a folder, identified by the hash of its files.

    A trained head (`head`) writes no text, so it has no end tokens.
    """
    facts = model_facts(reference, directory)
    settings = {
        "digest": json_digest(facts["files"]),
        "end_tokens": [] if head else sorted(end_tokens(directory)),
        "trust_remote_code": trust_remote_code,
    }
    label = f"{stage} {reference}"
    return Node(stage, label, settings, {}, code=(), existing_folder=directory, facts=facts)


def missing_model_node(stage: str, reference: str) -> Node:
    """Return the node of a model that is not on this machine: enough to plan, not to run."""
    settings = {"digest": MISSING + reference, "end_tokens": []}
    return Node(stage, f"{stage} {reference}", settings, {}, code=())


def gold_texts_node(setting: Setting, split: Split) -> Node:
    """Return the node of the gold answers of a split as texts; rows without one are left out.

    Raises UserError if no row has a gold answer.
    """
    rows = setting.rows[split]
    if not has_gold_answers(setting, split):
        raise UserError(
            f"The {split} rows of {setting.task.name} have no gold answers; set training.text = "
            "'target', so that the target writes them."
        )

    def build(job: Job) -> None:
        from draftmark.data.prompts import encode_gold

        tokenizer = setting.tokenizer(job.inputs["target"])
        kwargs = setting.recipe.prompting.chat_template_kwargs
        ends, form = setting.end_tokens, setting.format
        texts = encode_gold(tokenizer, with_gold_answers(rows.examples), ends, form, kwargs)
        write_texts(job.out / TEXTS, texts)

    return _texts(
        setting,
        "dataset",
        rows,
        f"gold answers, {split}",
        build,
        action=f"encode gold answers, {split}",
    )


def prompts_node(setting: Setting, split: Split) -> Node:
    """Return the node of the prompts of a split, which a draft answers during its training.

    Later turns of conversations are left out: they hold answers.
    """
    rows = setting.rows[split]

    def build(job: Job) -> None:
        first = [example for example in rows.examples if not example.follows]
        prompts = setting.prompts(job.inputs["target"], first)
        texts = [Text(prompt.example_id, prompt.token_ids, ()) for prompt in prompts]
        write_texts(job.out / TEXTS, texts)

    label = f"questions for the draft to answer in training, {split}"
    action = f"encode the draft's questions, {split}"
    return _texts(setting, "draft", rows, label, build, action=action)


def responses_node(
    setting: Setting,
    split: Split,
    sampler: Sampler,
    of: Node | None = None,
    samples: Samples | None = None,
) -> Node:
    """Return the node of the responses that a model, by default the target, writes to a split.

    Each prompt gets one, or `samples.count`: first those of sample 0, then of sample 1, and so on.
    Prompts of later turns hold the target's own answers, whichever model writes the responses.
    """
    rows = setting.rows[split].first(samples.prompts if samples else None)
    count = samples.count if samples else 1
    conversation = conversation_inputs(setting, split, sampler) if of or samples else {}
    in_vllm = of is None and setting.recipe.responses.engine == "vllm"

    def build(job: Job) -> None:
        from draftmark.models.generation import Sampling, generate
        from draftmark.models.language_model import load_model

        model = load_model(job.inputs["model"], setting.placement_of(of or setting.target))
        limits = (setting.max_new_tokens, setting.end_tokens)
        stop = setting.stop_strings(job.inputs["target"])
        texts = []
        with job.progress.step("generating", count * len(rows.examples)) as step:
            for sample in range(count):  # its batches do not depend on the count
                sampling = Sampling(sampler, *limits, TEXT_SEED, sample, stop)
                write = partial(
                    generate, model, sampling=sampling, rows_per_batch=ROWS_PER_BATCH, step=step
                )
                texts += _answered(setting, job, rows.examples, write)
        write_texts(job.out / TEXTS, texts)

    settings = {
        "sampler": asdict(sampler),
        "max_new_tokens": setting.max_new_tokens,
        "stop": setting.stop,
        **(vllm_settings(setting.recipe.responses) if in_vllm else _OWN_SETTINGS),
        "seed": TEXT_SEED,
        **({"count": count} if samples else {}),
    }
    whose = f"{of.label}'s" if of else "target's"
    label = f"{whose} responses, {split}, {sampler.describe()}"
    label += f", {count} to a prompt" if samples else ""
    label += ", written by vLLM" if in_vllm else ""
    action = f"write {split} answers{f' of {of.object}' if of else ''}, T={sampler.temperature:g}"
    inputs = {"model": of or setting.target, **conversation}
    chosen = _build_in_vllm(setting, sampler, rows, count) if in_vllm else build
    return _texts(setting, "model", rows, label, chosen, settings, inputs, action=action)


def vllm_settings(engine: TargetEngine) -> dict[str, Any]:
    """Return the settings of vLLM that enter the key of what it makes, its version included."""
    from draftmark.engines._vllm.starting import installed_version

    return {**engine.model_dump(mode="json"), "version": installed_version() or "not installed"}


def _build_in_vllm(setting: Setting, sampler: Sampler, rows: Rows, count: int) -> Build:
    """Return what writes the target's responses in vLLM, with the settings that vLLM resolved."""
    planned = vllm_settings(setting.recipe.responses)["version"]

    def build(job: Job) -> None:
        from draftmark.engines._vllm.starting import NEED, check_version
        from draftmark.engines._vllm.texts import VllmWriter
        from draftmark.models.generation import Sampling

        check_version(planned, NEED)
        responses = setting.recipe.responses
        place = setting.placement(responses.dtype)
        writer = VllmWriter.of_target(job.inputs["model"], place, responses.batch_size)
        limits = (setting.max_new_tokens, setting.end_tokens)
        stop = setting.stop_strings(job.inputs["target"])
        texts = []
        with (
            closing(writer),
            job.progress.step("generating", count * len(rows.examples)) as step,
        ):
            for sample in range(count):
                sampling = Sampling(sampler, *limits, TEXT_SEED, sample, stop)
                write = partial(writer.write, sampling=sampling, step=step)
                texts += _answered(setting, job, rows.examples, write)
        write_texts(job.out / TEXTS, texts)
        write_json(job.out / ENGINE, writer.facts)

    return build


def has_gold_answers(setting: Setting, split: Split) -> bool:
    """True if a row of a split has a gold answer; a plan without rows asks the task."""
    rows = setting.rows[split]
    return any(one.reference for one in rows.examples) or bool(
        rows.missing and setting.task.is_graded
    )


def conversation_inputs(setting: Setting, split: Split, sampler: Sampler) -> dict[str, Node]:
    """Return the target's responses as the input that prompts of later turns are read from.

    Empty if no prompt of the split is a later turn.
    """
    if not has_later_turns(setting.rows[split].examples):
        return {}
    return {"conversation": responses_node(setting, split, sampler)}


def read_prompts(setting: Setting, job: Job, examples: Sequence[Example]) -> list[Prompt]:
    """Return the prompts of examples; those of conversations as the target's responses have them.

    `job` has the inputs of `conversation_inputs`.
    """
    if "conversation" not in job.inputs:
        return setting.prompts(job.inputs["target"], examples)
    written = read_texts(job.inputs["conversation"] / TEXTS)
    prompts = {text.example_id: Prompt(text.example_id, text.prompt_ids) for text in written}
    return [prompts[example.id] for example in examples]


def _answered(
    setting: Setting,
    job: Job,
    examples: Sequence[Example],
    write: Callable[[Sequence[Prompt]], list[Text]],
) -> list[Text]:
    """Return the responses to examples; later turns are written after the turns before them."""
    if "conversation" in job.inputs or not has_later_turns(examples):
        return write(read_prompts(setting, job, examples))
    directory = job.inputs["target"]
    read = setting.answer_reader(directory, examples)
    texts: dict[str, Text] = {}
    answers: dict[str, str] = {}
    for turn in by_turn(examples):
        asked = {example.id: example for example in with_context(examples, answers)}
        for text in write(setting.prompts(directory, [asked[example.id] for example in turn])):
            texts[text.example_id] = text
            answers[text.example_id] = read(text.example_id, text.response_ids)
    return [texts[example.id] for example in examples]


def _texts(
    setting: Setting,
    source: str,
    rows: Rows,
    label: str,
    build: Build,
    settings: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Node] | None = None,
    *,
    action: str,
) -> Node:
    """Return a node of texts on rows; `inputs` names the models that write them, if any."""
    decisive = {"source": source, "rows": rows.digest, **setting.prompt_settings}
    generation = _writers_code(settings or {}) if inputs else ()
    code = (*generation, "draftmark.data.prompts", "draftmark.store.records")
    if has_later_turns(rows.examples):
        code = (*code, "draftmark.data.conversations", "draftmark.grading.thinking")
    inputs = {**(inputs or {}), "target": setting.target}
    node_settings = {**decisive, **(settings or {})}
    stage = Node("responses", label, node_settings, inputs, code, build, task=setting.task.name)
    return replace(stage, action=action)


def _writers_code(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the modules that write a model's texts."""
    if settings.get("engine") != "vllm":
        return ("draftmark.models.generation",)
    return ("draftmark.engines._vllm.texts", VLLM_CHILD)
