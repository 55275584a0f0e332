"""Encodes examples as token ids, by the target's chat template or as plain text."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from draftmark.errors import UserError
from draftmark.types import Example, Prompt, Text, Turn

# Some templates print today's date; a fixed one keeps the prompts of a run the same.
_SOME_DAY = datetime(2024, 7, 26, tzinfo=UTC)


def encode_prompts(tokenizer: Any, examples: Sequence[Example], form: str = "auto") -> list[Prompt]:
    """Return the prompts of examples; the response follows the last token."""
    return [Prompt(example.id, encode_prompt(tokenizer, example, form)) for example in examples]


def encode_prompt(tokenizer: Any, example: Example, form: str = "auto") -> tuple[int, ...]:
    """Return the token ids of an example's turns and of the opening of the answer.

    `form` is "chat", "plain" or "auto" (the model's chat template if it has one). Raises UserError
    for "chat" without a template.
    """
    if is_plain_text(tokenizer, form):
        return tuple(tokenizer.encode(to_plain_text(example.messages)))
    if not tokenizer.chat_template:
        raise UserError(
            "prompting.format = 'chat', but the target has no chat template; choose 'plain', or "
            "add chat_template.jinja to the model's folder."
        )
    return tuple(
        tokenizer.apply_chat_template(
            list(example.messages),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
            strftime_now=_SOME_DAY.strftime,
        )
    )


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
    tokenizer: Any, examples: Sequence[Example], end_tokens: frozenset[int], form: str = "auto"
) -> list[Text]:
    """Return examples with their gold answers as responses, each closed by an end token.

    The end token is the tokenizer's own if `end_tokens` has it: others may end whole documents.
    """
    own = tokenizer.eos_token_id
    end_token = own if own in end_tokens else min(end_tokens)
    return [
        Text(
            example.id,
            encode_prompt(tokenizer, example, form),
            (*tokenizer.encode(example.reference, add_special_tokens=False), end_token),
        )
        for example in examples
    ]
