"""Encodes examples as token ids, by the target's chat template or as plain text."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from draftmark.data import control_tokens
from draftmark.data.control_tokens import appended_tokens
from draftmark.errors import UserError
from draftmark.types import Example, Prompt, Text, Turn

NO_KWARGS: Mapping[str, Any] = MappingProxyType({})
# Some templates print today's date; a fixed one keeps the prompts of a run the same.
_SOME_DAY = datetime(2024, 7, 26, tzinfo=UTC)


def encode_prompts(
    tokenizer: Any,
    examples: Sequence[Example],
    form: str = "auto",
    template_kwargs: Mapping[str, Any] = NO_KWARGS,
) -> list[Prompt]:
    """Return the prompts of examples; the response follows the last token."""
    return [
        Prompt(example.id, encode_prompt(tokenizer, example, form, template_kwargs))
        for example in examples
    ]


def encode_prompt(
    tokenizer: Any,
    example: Example,
    form: str = "auto",
    template_kwargs: Mapping[str, Any] = NO_KWARGS,
) -> tuple[int, ...]:
    """Return the token ids of an example's turns and of the opening of the answer.

    `form` is "chat", "plain" or "auto" (the model's chat template if it has one);
    `template_kwargs` are arguments of that template. Raises UserError for "chat" without a
    template, and for an argument that the template does not read.
    """
    if is_plain_text(tokenizer, form):
        if template_kwargs:
            raise UserError(
                f"prompting.chat_template_kwargs = {dict(template_kwargs)}, but prompts are plain "
                "text: the target has no chat template; leave the key out."
            )
        return _encode_plain(tokenizer, to_plain_text(example.messages))
    if not tokenizer.chat_template:
        raise UserError(
            "prompting.format = 'chat', but the target has no chat template; choose 'plain', or "
            "add chat_template.jinja to the model's folder."
        )
    check_template_kwargs(tokenizer, template_kwargs)
    return control_tokens.encode_chat(
        tokenizer, example, {"strftime_now": _SOME_DAY.strftime, **template_kwargs}
    )


def check_template_kwargs(tokenizer: Any, template_kwargs: Mapping[str, Any]) -> None:
    """Raise UserError for an argument that the chat template does not read."""
    for name in template_kwargs:
        if not re.search(rf"\b{name}\b", tokenizer.get_chat_template()):
            raise UserError(
                f"prompting.chat_template_kwargs has {name!r}, which the target's chat template "
                "does not read; check its spelling in chat_template.jinja, or leave it out."
            )


def _encode_plain(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Return a text's ids with what the tokenizer puts before it, but not what it appends."""
    token_ids = control_tokens.encode_text(tokenizer, text, add_special_tokens=True)
    appended = appended_tokens(tokenizer)
    return token_ids[: len(token_ids) - len(appended)]


def is_plain_text(tokenizer: Any, form: str) -> bool:
    """True if prompts of a format are plain text for this tokenizer."""
    return form == "plain" or (form == "auto" and not tokenizer.chat_template)


def to_plain_text(messages: Sequence[Turn]) -> str:
    """Return turns as plain text: a question, its answer on the next line, an empty line."""
    parts = []
    for turn in messages:
        if turn["role"] == "assistant":
            parts.append(turn["content"] + "\n\n")
        else:
            parts.append(turn["content"].removesuffix("\n") + "\n")
    return "".join(parts)


def encode_gold(
    tokenizer: Any,
    examples: Sequence[Example],
    end_tokens: frozenset[int],
    form: str = "auto",
    template_kwargs: Mapping[str, Any] = NO_KWARGS,
) -> list[Text]:
    """Return examples with their gold answers as responses, each closed by an end token.

    The end token is the tokenizer's own if `end_tokens` has it: others may end whole documents.
    """
    own = tokenizer.eos_token_id
    end_token = own if own in end_tokens else min(end_tokens)
    return [
        Text(
            example.id,
            encode_prompt(tokenizer, example, form, template_kwargs),
            (*control_tokens.encode_text(tokenizer, example.reference), end_token),
        )
        for example in examples
    ]
