"""Control tokens: those that a tokenizer adds to a text, and those that a text spells out.

A row may hold the text of a control token, such as "<|im_end|>" or "</s>". A tokenizer would take
it for the token itself: a turn would end in the middle of a question. Here text is text: it is
encoded by its characters. Tokens that are not special, such as Qwen's "<think>", stay tokens.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from draftmark.data.chat_templates import apply_template
from draftmark.errors import UserError
from draftmark.types import Example, Turn

# Stands for a control token's text while the template is applied: characters for private use.
_STAND_IN = "\ue000{}\ue001"
_STANDS_IN = re.compile("\ue000(\\d+)\ue001")


def appended_tokens(tokenizer: Any) -> tuple[int, ...]:
    """Return the ids that a tokenizer puts after every text, such as its end token."""
    bare = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.encode("a")
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return tuple(whole[start + len(bare) :])
    return ()


@lru_cache(maxsize=4)
def control_tokens(tokenizer: Any) -> Sequence[str]:
    """Return the texts of the special tokens, the longest first."""
    special = {str(one) for one in tokenizer.added_tokens_decoder.values() if one.special}
    return sorted(special, key=lambda text: (-len(text), text))


def spelled_out(tokenizer: Any, texts: Iterable[str]) -> list[str]:
    """Return the special tokens that texts spell out, each once."""
    tokens = control_tokens(tokenizer)
    return sorted({token for text in texts for token in tokens if token in text})


def encode_text(tokenizer: Any, text: str, *, add_special_tokens: bool = False) -> tuple[int, ...]:
    """Return the ids of a text, in which no special token is taken for one."""
    as_text = {"split_special_tokens": True} if spelled_out(tokenizer, [text]) else {}
    return tuple(tokenizer.encode(text, add_special_tokens=add_special_tokens, **as_text))


def encode_chat(tokenizer: Any, example: Example, options: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the ids of an example's turns by the chat template, up to the opening of the answer.

    Raises UserError if a turn spells out a special token and the tokenizer cannot take it for text.
    """
    spelled = spelled_out(tokenizer, (turn["content"] for turn in example.messages))
    if not spelled:
        return _by_template(tokenizer, example.messages, options)
    without = [_replaced(turn, spelled, "") for turn in example.messages]
    if _in_parts(tokenizer, without, options, spelled) != _by_template(tokenizer, without, options):
        raise UserError(
            f"{example.id} spells out the special token {spelled[0]!r}, which this tokenizer "
            "cannot take for text; leave the row out."
        )
    return _in_parts(tokenizer, example.messages, options, spelled)


def _by_template(
    tokenizer: Any, messages: Sequence[Turn], options: Mapping[str, Any]
) -> tuple[int, ...]:
    return tuple(apply_template(tokenizer, messages, options, tokenize=True))


def _in_parts(
    tokenizer: Any, messages: Sequence[Turn], options: Mapping[str, Any], spelled: Sequence[str]
) -> tuple[int, ...]:
    """Return the ids of turns: the template's special tokens, and the texts between them."""
    hidden = [_replaced(turn, spelled, _STAND_IN) for turn in messages]
    rendered = apply_template(tokenizer, hidden, options, tokenize=False)
    tokens = control_tokens(tokenizer)
    ids: list[int] = []
    for part in re.split(f"({'|'.join(map(re.escape, tokens))})", rendered):
        if part in tokens:
            ids.append(tokenizer.convert_tokens_to_ids(part))
        elif part:
            text = _STANDS_IN.sub(lambda match: spelled[int(match[1])], part)
            ids += encode_text(tokenizer, text)
    return tuple(ids)


def _replaced(turn: Turn, spelled: Sequence[str], by: str) -> Turn:
    """Return a turn in which `by`, with the token's index, replaces each special token's text."""
    content = turn["content"]
    for token in sorted(spelled, key=len, reverse=True):
        content = content.replace(token, by.format(spelled.index(token)))
    return {**turn, "content": content}
