"""Examples -> token ids, in the target's own chat template."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from harness.errors import UserError
from harness.types import Example, Prompt, Text

# Some templates print today's date: on any other day the same run would have other prompts.
_SOME_DAY = datetime(2024, 7, 26, tzinfo=UTC)


def encode_prompts(tokenizer: Any, examples: Sequence[Example]) -> list[Prompt]:
    """Return the prompts of examples, up to where the response starts."""
    return [Prompt(example.id, encode_prompt(tokenizer, example)) for example in examples]


def encode_prompt(tokenizer: Any, example: Example) -> tuple[int, ...]:
    """Return the token ids of an example's chat turns with the opening of the answer.

    Raises UserError if the model has no chat template.
    """
    if not tokenizer.chat_template:
        raise UserError(
            "The target has no chat template, so its prompts are not defined; use an instruct "
            "model, or add chat_template.jinja to the model's folder."
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


def encode_gold(
    tokenizer: Any, examples: Sequence[Example], end_tokens: frozenset[int]
) -> list[Text]:
    """Return examples with their gold answers as responses, each closed by an end token.

    By the tokenizer's own where it is one of `end_tokens`: the others end whole documents.
    """
    own = tokenizer.eos_token_id
    end_token = own if own in end_tokens else min(end_tokens)
    return [
        Text(
            example.id,
            encode_prompt(tokenizer, example),
            (*tokenizer.encode(example.reference, add_special_tokens=False), end_token),
        )
        for example in examples
    ]
