"""Checks a run's models and prompts before its first stage: a refusal costs no computing.

Each model's weights are matched with its config by their names and shapes, without reading them.
What is found and not refused is said at once, such as end tokens that differ, and is among the
findings of the results.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from draftmark.config.model_sections import DraftInit
from draftmark.config.recipe import MethodEntry
from draftmark.data.control_tokens import spelled_out
from draftmark.engines._vllm.starting import NEED, NEED_OF_STATES, check_installed
from draftmark.errors import UserError
from draftmark.models.quantised import check_packages, quantisation
from draftmark.pipeline.experiment import Plan
from draftmark.pipeline.setting import Setting
from draftmark.progress import Progress
from draftmark.results import Finding, Severity
from draftmark.store.graph import Node, json_digest
from draftmark.store.reading import read_json
from draftmark.store.store import CHECKS, Store, write_json
from draftmark.types import Example

_VERSION = 3  # of the checks: raise it where one changes, so that their results are not read again
_Note = tuple[Severity, str]


class _Model(NamedTuple):
    """A model that loads whole and fits its tokenizer."""

    context: int  # tokens
    rows: int  # of its head
    notes: Sequence[_Note]


def check_before_run(plan: Plan, store: Store, progress: Progress) -> tuple[Finding, ...]:
    """Return what was found about models and rows, and say it; the store keeps it for later runs.

    Raises UserError if a model does not load whole, or does not fit its tokenizer or template.
    Nothing is checked again if no result of the plan is missing.
    """
    kept = store.root / CHECKS / f"{_key(plan)}.json"
    if not store.missing(plan.nodes):
        with suppress(UserError):  # never written, or damaged
            known: tuple[Finding, ...] = read_json(kept, tuple[Finding, ...])
            return known
    found = check_models(plan, progress)
    with suppress(OSError):  # a store that cannot be written is checked again
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, [asdict(finding) for finding in found])
    return found


def check_models(plan: Plan, progress: Progress) -> tuple[Finding, ...]:
    """Return what was found about models and rows, and say it; raises UserError as above."""
    for section, what in ((plan.recipe.responses, NEED), (plan.recipe.features, NEED_OF_STATES)):
        if section.engine == "vllm":
            check_installed(what)
    heads = {
        node.key: init.trained_head
        for setting in plan.settings.values()
        for init, node in _inits(setting)
        if init.trained_head
    }
    models = {
        node.key: _check_model(node)
        for node in plan.nodes
        if node.existing_folder and node.stage in ("target", "init") and node.key not in heads
    }
    found = tuple(_findings(plan, models))
    for text in dict.fromkeys(finding.text for finding in found):
        progress.say(text)
    return found


def _key(plan: Plan) -> str:
    """Return a hash of what the checks read: models, rows, and how prompts are formatted."""
    read = [
        {
            "models": [(it.label, it.key) for it in _models(setting)],
            "rows": {split: rows.digest for split, rows in setting.rows.items()},
            "format": setting.format,
            "chat_template_kwargs": setting.recipe.prompting.chat_template_kwargs,
            "inits": [init.key_settings() for init, _ in _inits(setting)],
            "methods": [entry.name for entry in setting.recipe.methods],
            "of": f"{setting.task.name}, {setting.pair.name}",
        }
        for setting in plan.settings.values()
    ]
    return json_digest([_VERSION, read])


def _models(setting: Setting) -> list[Node]:
    """Return the target before fine-tuning, and the models and heads of drafts."""
    return [it for it in (setting.target_as_given, setting.init, *setting.inits.values()) if it]


def _inits(setting: Setting) -> Iterator[tuple[DraftInit, Node]]:
    """Yield each draft init that names a model or head, with its node."""
    if setting.init:
        yield setting.pair.draft, setting.init
    for entry in setting.recipe.methods:
        if entry.draft and (node := setting.inits.get(entry.title)):
            yield entry.draft, node


def _findings(plan: Plan, models: Mapping[str, _Model]) -> Iterator[Finding]:
    """Yield what was found about each task and pair."""
    for setting in plan.settings.values():
        used = [node.key for node in _models(setting)]
        notes = [note for key in used if key in models for note in models[key].notes]
        for severity, text in dict.fromkeys([*notes, *_notes(setting, models)]):
            yield Finding(severity, f"{setting.task.name}, {setting.pair.name}", text)


def _check_model(node: Node) -> _Model:
    """Return the context length and the notes of a model; raises UserError for a broken one."""
    from transformers import AutoConfig

    from draftmark.models.context_length import context_length
    from draftmark.models.language_model import load_tokenizer
    from draftmark.models.loading import explain_loading, load_whole
    from draftmark.models.shared_vocabulary import has_shared_vocabulary
    from draftmark.models.token_ids import end_token_notes, tokenizer_notes, vocabulary_size

    directory, trusted = _place(node)
    if has_shared_vocabulary(directory):
        raise UserError(
            f"{directory} is a draft in a store, made with vocabulary = 'shared'; name the model "
            "that it was made from, or a folder that `draftmark export` wrote."
        )
    check_packages(directory)
    tokenizer = load_tokenizer(directory, trust_remote_code=trusted)
    if quantisation(directory):  # whether it is whole shows when it is loaded
        with explain_loading(directory):
            config = AutoConfig.from_pretrained(
                directory, local_files_only=True, trust_remote_code=trusted
            )
            rows = config.get_text_config().vocab_size
    else:
        model = load_whole(directory, "float32", trust_remote_code=trusted, device_map="meta")
        config, rows = model.config, model.get_output_embeddings().weight.shape[0]
    _check_vocabulary(tokenizer, directory)
    vocabulary_size(tokenizer, rows)
    notes = [*tokenizer_notes(tokenizer, rows, node.label)]
    if node.stage == "target":
        notes += end_token_notes(directory, node.label)
    return _Model(context_length(config.to_dict()), rows, notes)


def _check_vocabulary(tokenizer: Any, directory: Path) -> None:
    """Raise UserError for a tokenizer that transformers made without a vocabulary."""
    if set(tokenizer.get_vocab().values()) <= set(tokenizer.all_special_ids):
        raise UserError(
            f"The tokenizer of {directory} has no tokens but special ones: its vocabulary is not "
            "in the files that its class reads; save it again with save_pretrained."
        )


def _place(node: Node) -> tuple[Path, bool]:
    assert node.existing_folder is not None
    return node.existing_folder, bool(node.settings["trust_remote_code"])


def _notes(setting: Setting, models: Mapping[str, _Model]) -> Iterator[_Note]:
    """Yield what was found about a setting's models and rows."""
    base = setting.target_as_given
    tokenizer = setting.tokenizer(_place(base)[0])
    for rows in setting.rows.values():
        if rows.examples:
            _check_prompt(setting, tokenizer, rows.examples[0], _place(base)[0])
    for init, node in _inits(setting):
        if init.trained_head:
            yield from _check_head(setting, init.trained_head, node, tokenizer)
        elif node.key in models:
            yield from _context_note(node, models[node.key].context, base, models[base.key].context)
    for entry in setting.recipe.methods:
        yield from _vocabulary_note(setting.for_entry(entry), entry, tokenizer, models)
    yield from _spelled_out(setting, tokenizer)


def _vocabulary_note(
    setting: Setting, entry: MethodEntry, target: Any, models: Mapping[str, _Model]
) -> Iterator[_Note]:
    """Yield a note on the vocabulary that an entry's draft model shares with its target.

    `setting` is the entry's own. Raises UserError if the draft needs its target's tokenizer and has
    another.
    """
    from draftmark.models.language_model import check_same_tokenizer, load_tokenizer
    from draftmark.models.shared_vocabulary import match_vocabularies
    from draftmark.models.token_ids import vocabulary_size

    init, node = setting.pair.draft, setting.init
    if not init.model or node is None or setting.method_of(entry).kind != "language_model":
        return
    directory, trusted = _place(node)
    draft = load_tokenizer(directory, trust_remote_code=trusted)
    if init.vocabulary == "same":
        check_same_tokenizer(target, draft, (setting.pair.target, init.model))
        return
    size = vocabulary_size(target, models[setting.target_as_given.key].rows)
    shared = match_vocabularies(target, draft, size, models[node.key].rows)
    yield "note", f"{node.label} shares {shared.describe()}, and drafts no other token."


def _context_note(init: Node, context: int, base: Node, longest: int) -> Iterator[_Note]:
    """Yield a note if a draft's context is shorter than the target's."""
    if context < longest:
        text = (
            f"{init.label} has a context of {context} tokens, {base.label} of {longest}: texts "
            "that are longer than the draft's are refused."
        )
        yield "note", text


def _check_head(setting: Setting, reference: str, node: Node, tokenizer: Any) -> Iterator[_Note]:
    """Yield what was found about a trained head; raises UserError if it does not fit the target."""
    from transformers import AutoConfig

    from draftmark.models.heads.block_imports import check_any_head
    from draftmark.models.loading import explain_loading
    from draftmark.models.token_ids import vocabulary_size

    directory, trusted = _place(setting.target_as_given)
    with explain_loading(directory):
        config = AutoConfig.from_pretrained(
            directory, local_files_only=True, trust_remote_code=trusted
        ).get_text_config()
    assert node.existing_folder is not None
    size = vocabulary_size(tokenizer, config.vocab_size)
    facts = check_any_head(node.existing_folder, reference, config, size)
    if facts.vllm_layers is not None:
        text = (
            f"{reference} counts layers inside eagle_config, where SpecForge and SGLang count from "
            f"0: it is scored on layers {facts.layers}. vLLM would read layers "
            f"{facts.vllm_layers}; for vLLM, write eagle_aux_hidden_state_layer_ids = "
            f"{list(facts.layers or ())} at the top of its config.json."
        )
        yield "warning", text


def _check_prompt(setting: Setting, tokenizer: Any, example: Example, directory: Path) -> None:
    """Raise UserError if an example cannot be written as a prompt, or is an empty one."""
    from draftmark.data.prompts import encode_prompt

    kwargs = setting.recipe.prompting.chat_template_kwargs
    with _explain_template(example, directory):
        if not encode_prompt(tokenizer, example, setting.format, kwargs):
            raise ValueError("it gives no tokens")


@contextmanager
def _explain_template(example: Example, directory: Path) -> Iterator[None]:
    """Turn it into a UserError that there is no default chat template, or no token of a prompt."""
    try:
        yield
    except ValueError as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"The chat template of {directory} does not write {example.id} ({reason}); set "
            "prompting.format = 'plain', or name a copy of the folder whose chat_template.jinja "
            "does."
        ) from error


def _spelled_out(setting: Setting, tokenizer: Any) -> Iterator[_Note]:
    """Yield a note if rows spell out special tokens of the target."""
    found = {}
    for rows in setting.rows.values():
        for example in rows.examples:
            texts = [example.reference, *(turn["content"] for turn in example.messages)]
            if tokens := spelled_out(tokenizer, texts):
                found[example.id] = tokens[0]
    if found:
        first, token = next(iter(found.items()))
        text = (
            f"{setting.task.name}: {len(found)} rows spell out special tokens of the target (first "
            f"{first}: {token!r}); they are encoded as text."
        )
        yield "note", text
