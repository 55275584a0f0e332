"""The stages that train: a fine-tuned target, drafts. As in `stages`, a function makes a node."""

from dataclasses import asdict
from functools import partial
from typing import Any

from draftmark import registry
from draftmark.config.model_sections import Training, Writer
from draftmark.config.recipe import MethodEntry
from draftmark.errors import UserError
from draftmark.pipeline.setting import TEXT_SEED, Setting
from draftmark.pipeline.stages import layer_states
from draftmark.pipeline.stages.texts import features, gold_texts, questions, responses
from draftmark.speculation.build_method import build_method
from draftmark.store.graph import Job, Node
from draftmark.store.records import training_texts
from draftmark.training.trackers import check_installed
from draftmark.types import Sampler


def fine_tuned(setting: Setting) -> Node:
    """Return the node of the target trained on the task's gold answers; its pair says how.

    One for all methods and seeds of the pair. End tokens and digest are of the target as given.
    """
    pair, base = setting.pair, setting.target
    assert pair.fine_tune is not None
    recipe = pair.fine_tune
    check_installed(recipe.trackers)

    def build(job: Job) -> None:
        from draftmark.training.fine_tuning import fine_tune
        from draftmark.training.launcher import share

        work = partial(fine_tune, pair, recipe, setting.end_tokens, TEXT_SEED)
        share(work, job, recipe.processes)

    settings = {
        **base.settings,
        "fine_tune": recipe.key_settings(),
        "dtype": pair.dtype,
        "seed": TEXT_SEED,
    }
    inputs = {
        "target": base,
        "train": gold_texts(setting, "train"),
        "validation": gold_texts(setting, "validation"),
    }
    label = f"{base.label}, fine-tuned on {setting.task.name}"
    code = ("draftmark.training.fine_tuning",)
    return Node("target", label, settings, inputs, code, build, processes=recipe.processes)


def draft(setting: Setting, entry: MethodEntry, seed: int) -> Node:
    """Return the node of a method's draft."""
    method, pair = build_method(entry), setting.pair
    training = setting.recipe.training_of(entry)
    check_installed(training.trackers)
    settings: dict[str, Any] = {
        "method": entry.name,
        "knobs": asdict(method),  # type: ignore[call-overload]  # a Method is a dataclass
    }
    inputs = {"target": setting.target}
    if method.kind != "training_free":
        # Of layers or a model as they are, every seed makes the same draft.
        settings |= {"seed": seed} if method.trains or pair.draft.random is not None else {}
    if method.kind == "language_model":
        settings |= {"init": pair.draft.model_dump(mode="json", exclude={"model"})}
        inputs |= {"init": setting.init} if setting.init else {}
        if pair.draft.head == "fitted":
            settings |= {"fitted on": training.fixed_text}
            inputs |= _texts(setting, training, training.fixed_text)
    if method.trains:
        settings |= {"training": training.key_settings(), "dtype": pair.dtype}
        inputs |= _texts(setting, training, *training.shares) | {"validation": _validation(setting)}
        if "draft" in training.shares:
            settings |= {"max_new_tokens": setting.max_new_tokens, "stop": setting.stop}
    if method.kind == "feature_head":
        inputs |= _states(setting, entry, training, inputs)

    def build(job: Job) -> None:
        from draftmark.models.generation import Sampling
        from draftmark.pipeline.stages.make_draft import DraftSpec, make
        from draftmark.training.launcher import share

        sampler = Sampler(training.text_temperature)
        sampling = Sampling(
            sampler,
            setting.max_new_tokens,
            setting.end_tokens,
            seed,
            stop=setting.stop_strings(job.inputs["target"]),
        )
        work = partial(make, DraftSpec(pair, method, training, sampling, seed))
        share(work, job, training.processes if method.trains else 1)

    label = f"draft {entry.title}, seed {seed}"
    code = (registry.module_name("baselines", entry.name), "draftmark.pipeline.stages.make_draft")
    # How a draft will be measured does not decide what it is.
    drafters = ("language_model_drafter", "head_drafter", "tree_drafter")
    aside = frozenset(f"draftmark.speculation.{name}" for name in drafters)
    processes = training.processes if method.trains else 1
    return Node("draft", label, settings, inputs, code, build, aside=aside, processes=processes)


def _texts(setting: Setting, training: Training, *writers: Writer) -> dict[str, Node]:
    return {training_texts(writer): _source(setting, training, writer) for writer in writers}


def _source(setting: Setting, training: Training, writer: Writer) -> Node:
    """Return what drafts read of a writer: its texts as the target sees them, or only questions."""
    if writer == "draft":
        return questions(setting, "train")
    if writer == "dataset":
        return features(setting, gold_texts(setting, "train"), "bfloat16")
    sampler = Sampler(training.text_temperature)
    return features(setting, responses(setting, "train", sampler), "bfloat16")


def _states(
    setting: Setting, entry: MethodEntry, training: Training, inputs: dict[str, Node]
) -> dict[str, Node]:
    """Return the target's states on what a head is trained on and chosen by."""
    if "draft" in training.shares:
        raise UserError(
            f"method {entry.title!r}: training.text = 'draft' or a share of it; a feature head "
            "writes no text without its target. Take 'dataset' or 'target'."
        )
    names = (*map(training_texts, training.shares), "validation")
    return layer_states.inputs(setting, build_method(entry), {name: inputs[name] for name in names})


def _validation(setting: Setting) -> Node:
    """Return the target's own text that checkpoints are chosen on."""
    return features(setting, responses(setting, "validation", Sampler(1.0)), "bfloat16")
