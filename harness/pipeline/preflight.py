"""Checks a run's models and prompts before its first stage: a refusal costs no computing.

Each model's weights are matched with its config by their names and shapes, without reading them.
What is found and not refused is said once, such as end tokens that differ.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from draftmark.data.control_tokens import spelled_out
from draftmark.errors import UserError
from draftmark.pipeline.experiment import Plan
from draftmark.pipeline.setting import Setting
from draftmark.progress import Progress
from draftmark.store.graph import Node
from draftmark.store.store import Store
from draftmark.types import Example


def check_before_run(plan: Plan, store: Store, progress: Progress) -> None:
    """Check the models and prompts of a plan, unless the store has all of its results."""
    if store.missing(plan.nodes):
        check_models(plan, progress)


def check_models(plan: Plan, progress: Progress) -> None:
    """Raise UserError if a model does not load whole, or does not fit its tokenizer or template."""
    lengths = {
        node.key: _check_model(node, progress)
        for node in plan.nodes
        if node.existing_folder and node.stage in ("target", "init")
    }
    notes = (note for setting in plan.settings.values() for note in _notes(setting, lengths))
    for note in dict.fromkeys(notes):
        progress.say(note)


def _check_model(node: Node, progress: Progress) -> int:
    """Return the context length of a model that loads whole and fits its tokenizer."""
    from draftmark.models.context_length import context_length
    from draftmark.models.language_model import load_tokenizer
    from draftmark.models.loading import load_whole
    from draftmark.models.token_ids import tokenizer_notes, vocabulary_size

    directory, trusted = _place(node)
    model = load_whole(directory, "float32", trust_remote_code=trusted, device_map="meta")
    tokenizer = load_tokenizer(directory, trust_remote_code=trusted)
    rows = model.get_output_embeddings().weight.shape[0]
    _check_vocabulary(tokenizer, directory)
    vocabulary_size(tokenizer, rows)
    for note in tokenizer_notes(tokenizer, rows, node.label):
        progress.say(note)
    return context_length(model.config.to_dict())


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


def _notes(setting: Setting, lengths: dict[str, int]) -> Iterator[str]:
    """Yield what was found about a setting's models and rows."""
    base = setting.target.inputs.get("target", setting.target)
    tokenizer = setting.tokenizer(_place(base)[0])
    for rows in setting.rows.values():
        if rows.examples:
            _check_prompt(setting, tokenizer, rows.examples[0], _place(base)[0])
    if setting.init and lengths.get(setting.init.key, lengths[base.key]) < lengths[base.key]:
        yield (
            f"{setting.init.label} has a context of {lengths[setting.init.key]} tokens, "
            f"{base.label} of {lengths[base.key]}: texts that are longer than the draft's are "
            "refused."
        )
    yield from _spelled_out(setting, tokenizer)


def _check_prompt(setting: Setting, tokenizer: Any, example: Example, directory: Path) -> None:
    """Raise UserError if an example cannot be written as a prompt, or is an empty one."""
    from draftmark.data.prompts import encode_prompt

    kwargs = setting.recipe.prompting.chat_template_kwargs
    with _explain_template(example, directory):
        if not encode_prompt(tokenizer, example, setting.format, kwargs):
            raise ValueError("it gives no tokens")


@contextmanager
def _explain_template(example: Example, directory: Path) -> Iterator[None]:
    """Turn what a chat template raises, and that there is no default one, into a UserError."""
    from jinja2 import TemplateError

    try:
        yield
    except (TemplateError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"The chat template of {directory} does not write {example.id} ({reason}); set "
            "prompting.format = 'plain', or name a copy of the folder whose chat_template.jinja "
            "does."
        ) from error


def _spelled_out(setting: Setting, tokenizer: Any) -> Iterator[str]:
    """Yield a note if rows spell out special tokens of the target."""
    found = {}
    for rows in setting.rows.values():
        for example in rows.examples:
            texts = [example.reference, *(turn["content"] for turn in example.messages)]
            if tokens := spelled_out(tokenizer, texts):
                found[example.id] = tokens[0]
    if found:
        first, token = next(iter(found.items()))
        yield (
            f"{setting.task.name}: {len(found)} rows spell out special tokens of the target (first "
            f"{first}: {token!r}); they are encoded as text."
        )
