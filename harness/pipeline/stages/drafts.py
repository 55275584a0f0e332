"""The stages that train: fine-tuned targets and drafts. Each function returns a node."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from draftmark import registry
from draftmark.config.model_sections import Training, Writer
from draftmark.config.recipe import MethodEntry
from draftmark.errors import UserError
from draftmark.models import shapes
from draftmark.pipeline.planning.loads import gold_loads
from draftmark.pipeline.planning.state_costs import state_costs
from draftmark.pipeline.setting import TEXT_SEED, Setting
from draftmark.pipeline.stages.choose_draft import SEARCH, chosen_rate, note_rate
from draftmark.pipeline.stages.hidden_states import final_states_node, layer_states_node
from draftmark.pipeline.stages.texts import gold_texts_node, prompts_node, responses_node
from draftmark.speculation.interfaces import FeatureMethod, Method
from draftmark.speculation.methods import as_trained, build_method
from draftmark.store.graph import Job, Node
from draftmark.store.records import training_states, training_texts
from draftmark.training import lora
from draftmark.training.trackers import check_installed
from draftmark.types import Sampler


def fine_tuned_node(setting: Setting) -> Node:
    """Return the node of the target, fine-tuned on the task's gold answers by its pair's settings.

    All methods and seeds of the pair share it. Its settings keep the end tokens and the digest of
    the original target.
    """
    pair, base = setting.pair, setting.target
    assert pair.fine_tune is not None
    recipe = pair.fine_tune
    check_installed(recipe.trackers)
    lora.check_installed(recipe.lora)

    def build(job: Job) -> None:
        from draftmark.training.fine_tuning import fine_tune
        from draftmark.training.launcher import run_shared

        work = partial(fine_tune, pair, recipe, setting.end_tokens, TEXT_SEED)
        run_shared(work, job, recipe.processes)

    settings = {
        **base.settings,
        "fine_tune": recipe.key_settings(),
        "dtype": pair.dtype,
        "seed": TEXT_SEED,
    }
    inputs = {
        "target": base,
        "train": gold_texts_node(setting, "train"),
        "validation": gold_texts_node(setting, "validation"),
    }
    label = f"{base.label}, fine-tuned on {setting.task.name}"
    code = ("draftmark.training.fine_tuning",)
    action, processes = f"fine-tune the target on {setting.task.name}", recipe.processes
    return Node("target", label, settings, inputs, code, build, processes=processes, action=action)


def fitted_init_node(setting: Setting, training: Training, seed: int) -> Node:
    """Return the node of a draft init whose head is fitted to the target.

    All methods that fit to the same text share it, and all seeds unless its body is random.
    """
    init = setting.pair.draft

    def build(job: Job) -> None:
        from draftmark.models.draft_inits import fit_head, make_draft
        from draftmark.models.hidden_states import load_final_states
        from draftmark.models.language_model import load_model, save_model

        placement = setting.placement()
        target = load_model(job.inputs["target"], placement)
        start = make_draft(init, target, seed=seed, placement=placement.whole)
        fitted = fit_head(start, target, load_final_states(job.inputs["texts"], target))
        save_model(fitted, setting.tokenizer(job.inputs["target"]), job.out)

    settings = {"init": init.key_settings(), **({} if init.random is None else {"seed": seed})}
    texts = _source(setting, training, training.fixed_text)
    label = f"draft init, {init.describe()}, {training.fixed_text} text"
    code = ("draftmark.models.draft_inits",)
    inputs = {"target": setting.target, "texts": texts}
    task, action = setting.task.name, "fit the draft init"
    return Node("init", label, settings, inputs, code, build, task=task, action=action)


def training_of(setting: Setting, entry: MethodEntry) -> Training:
    """Return an entry's training, with "auto" features decided by disk and passes.

    Shapes and rows decide, never the free disk: the choice is part of the draft's key.
    """
    training = setting.recipe.training_of(entry)
    written_before = set(training.shares) != {"draft"}
    if training.features != "auto" or not written_before or "train" not in setting.rows:
        return training
    base = setting.target_as_given
    target = shapes.model_shape(setting.pair.target, base.existing_folder)
    gold = gold_loads(setting)[0]["train"]
    costs = state_costs(setting, setting.method_of(entry), training, target, gold)
    choice = costs.choice(setting.recipe.data.max_features_gb)
    return training.model_copy(update={"features": choice})


def draft_node(setting: Setting, entry: MethodEntry, seed: int) -> Node:
    """Return the node of a method's draft.

    With `learning_rates`, the first seed's is the best of several, and the other seeds train at
    its rate.

    Raises UserError if a tracker or peft is not installed, if a head would train by LoRA, or if a
    feature head would train on its own text.
    """
    method, training = setting.method_of(entry), training_of(setting, entry)
    check_installed(training.trackers)
    _check_lora(entry, method, training)
    if not (method.trains and training.learning_rates):
        return _trained_node(setting, entry, training, seed)
    first = setting.recipe.seeds[0]
    if seed != first:
        search = draft_node(setting, entry, first)
        return _trained_node(setting, entry, training, seed, search=search)
    trials = {
        rate: _trained_node(setting, entry, trial, seed, rate)
        for rate, trial in training.trials().items()
    }
    return _chosen_node(setting, entry, seed, trials)


def _chosen_node(
    setting: Setting, entry: MethodEntry, seed: int, trials: Mapping[float, Node]
) -> Node:
    """Return the node of the best of several drafts of a method, by learning rate."""
    names = {rate: f"learning rate {rate}" for rate in trials}  # in full: no two are the same

    def build(job: Job) -> None:
        from draftmark.pipeline.stages.choose_draft import write_best_draft

        write_best_draft(job, names)

    # What the trials share stays an input: records name a draft's texts and init.
    inputs = {**next(iter(trials.values())).inputs}
    inputs |= {names[rate]: trial for rate, trial in trials.items()}
    code = ("draftmark.pipeline.stages.choose_draft",)
    label, settings = f"draft {entry.title}, seed {seed}", {"trials": list(trials)}
    task, action = setting.task.name, f"choose {setting.short_name(entry, seed)}"
    return Node("draft", label, settings, inputs, code, build, task=task, action=action)


def _trained_node(
    setting: Setting,
    entry: MethodEntry,
    training: Training,
    seed: int,
    rate: float | None = None,
    search: Node | None = None,
) -> Node:
    """Return the node of a draft with one training; `rate` is the trial's, for its label.

    `search` is the draft whose learning rate was chosen, and is this one's.
    """
    method = setting.method_of(entry)
    processes = training.processes if method.trains else 1

    def build(job: Job) -> None:
        from draftmark.models.generation import Sampling
        from draftmark.pipeline.stages.make_draft import DraftSpec, write_draft
        from draftmark.training.launcher import run_shared

        sampling = Sampling(
            Sampler(training.text_temperature),
            setting.max_new_tokens,
            setting.end_tokens,
            seed,
            stop=setting.stop_strings(job.inputs["target"]),
        )
        at_rate = training.at(chosen_rate(job.inputs[SEARCH])) if search else training
        spec = DraftSpec(setting.pair, as_trained(method), at_rate, sampling, seed)
        work = partial(write_draft, spec)
        run_shared(work, job, processes)
        if search:
            note_rate(job.out, at_rate.learning_rate)

    # Drafters only measure a draft.
    drafters = ("language_model_drafter", "head_drafter", "tree_drafter", "block_drafter")
    code = (registry.module_name("baselines", entry.name), "draftmark.pipeline.stages.make_draft")
    trial = "" if rate is None else f", learning rate {rate:g}"
    return Node(
        "draft",
        f"draft {entry.title}{trial}, seed {seed}",
        _draft_settings(setting, entry, training, seed),
        _draft_inputs(setting, entry, training, seed) | ({SEARCH: search} if search else {}),
        code,
        build,
        ignored=frozenset(f"draftmark.speculation.{name}" for name in drafters),
        processes=processes,
        task=setting.task.name,
        action=f"{'train' if method.trains else 'make'} {setting.short_name(entry, seed)}{trial}",
    )


def _check_lora(entry: MethodEntry, method: Method, training: Training) -> None:
    if not method.trains:
        return
    lora.check_installed(training.lora)
    if method.kind != "language_model" and (training.lora or training.sharded):
        what, key = ("lora adapts", "lora") if training.lora else ("sharded spreads", "sharded")
        raise UserError(
            f"method {entry.title!r} trains a new head, and training.{what} language models; "
            f"set training = {{ {key} = false }} for it."
        )


def _draft_settings(
    setting: Setting, entry: MethodEntry, training: Training, seed: int
) -> dict[str, Any]:
    """Return the settings that enter the cache key of a draft."""
    method, init = setting.method_of(entry), setting.pair.draft
    settings: dict[str, Any] = {
        "method": entry.name,
        "knobs": asdict(as_trained(build_method(entry))),  # type: ignore[call-overload]  # a dataclass
    }
    # An untrained draft that is not random is the same for every seed.
    if method.kind != "training_free" and (method.trains or init.random is not None):
        settings |= {"seed": seed}
    if method.kind == "language_model":
        settings |= {"init": init.key_settings()}
        if init.head == "fitted":
            settings |= {"fitted on": training.fixed_text}
    if method.trains:
        settings |= {"training": training.key_settings(), "dtype": setting.pair.dtype}
        if "draft" in training.shares:
            settings |= {"max_new_tokens": setting.max_new_tokens, "stop": setting.stop}
    return settings


def _draft_inputs(
    setting: Setting, entry: MethodEntry, training: Training, seed: int
) -> dict[str, Node]:
    """Return the models that a draft starts from, and the texts and states that it reads."""
    method = setting.method_of(entry)
    inputs = {"target": setting.target}
    if method.kind == "language_model" or _starts_from_head(setting, method):
        inputs |= {"init": setting.init} if setting.init else {}
        if setting.pair.draft.head == "fitted":
            inputs |= {"init": fitted_init_node(setting, training, seed)}
            # Every draft's ledger counts the text that the head was fitted on.
            inputs |= _texts(setting, training, training.fixed_text)
    if method.trains:
        # Checkpoints are chosen on the target's own text.
        validation = final_states_node(setting, responses_node(setting, "validation", Sampler(1.0)))
        inputs |= _texts(setting, training, *training.shares) | {"validation": validation}
    if isinstance(method, FeatureMethod) and method.trains:
        inputs |= _layer_states(setting, entry, method, training, inputs)
    return inputs


def _starts_from_head(setting: Setting, method: Method) -> bool:
    return isinstance(method, FeatureMethod) and setting.pair.draft.trained_head is not None


def _texts(setting: Setting, training: Training, *writers: Writer) -> dict[str, Node]:
    return {training_texts(writer): _source(setting, training, writer) for writer in writers}


def _source(setting: Setting, training: Training, writer: Writer) -> Node:
    """Return the target's final states on a writer's texts, or live only the texts.

    For "draft", only the prompts.
    """
    if writer == "draft":
        return prompts_node(setting, "train")
    if writer == "dataset":
        texts = gold_texts_node(setting, "train")
    else:
        texts = responses_node(setting, "train", Sampler(training.text_temperature))
    return texts if training.reads_live else final_states_node(setting, texts)


def _layer_states(
    setting: Setting,
    entry: MethodEntry,
    method: FeatureMethod,
    training: Training,
    inputs: dict[str, Node],
) -> dict[str, Node]:
    """Return the target's layer states on a head's training and validation texts."""
    if "draft" in training.shares:
        raise UserError(
            f"method {entry.title!r}: training.text has a share of 'draft', but a feature head "
            "writes no text without its target; use 'dataset' or 'target'."
        )
    stored = () if training.reads_live else training.shares
    names = (*map(training_texts, stored), "validation")
    return {
        training_states(name): layer_states_node(setting, method, inputs[name].inputs["texts"])
        for name in names
    }
