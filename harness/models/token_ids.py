"""Token ids, checked in one place against a model's tokenizer and head.

- The vocabulary ends at the tokenizer's largest id, which may be larger than the number of tokens.
- Special tokens may have no row in the head (Gemma 3's `<image_soft_token>`): the vocabulary ends
  before them, and only a text that holds one is refused. Ordinary tokens must have a row.
- End tokens that the tokenizer or the head lacks can end no text. They are left out.

`end_token_notes` and `tokenizer_notes` say what was found and done.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from draftmark.data.control_tokens import appended_tokens
from draftmark.errors import UserError
from draftmark.results import Severity
from draftmark.store.plain_files import read_plain

_SOURCES = ("generation_config.json", "config.json")


def read_config(path: Path) -> dict[str, Any]:
    """Return a JSON object, empty if the file is missing; raises UserError if it is malformed."""
    try:
        config = json.loads(read_plain(path)) if path.exists() else {}
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}; fix the model's folder.") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} must hold a JSON object; fix the model's folder.")
    return config


def end_tokens(directory: Path) -> frozenset[int]:
    """Return the ids that end a response, from the model's generation config, else its config.

    Raises UserError if both lack them, or if the model can write none of them.
    """
    named = next((ids for name in _SOURCES if (ids := _named_ends(directory, name))), None)
    if named is None:
        raise UserError(
            f"{directory} names no end token (eos_token_id); fix generation_config.json."
        )
    usable = _writable(directory, named)
    if not usable:
        raise UserError(
            f"{directory} names the end tokens {_listed(named)}, which its tokenizer or head does "
            "not have; fix eos_token_id in generation_config.json."
        )
    return usable


def end_token_notes(directory: Path, name: str) -> Iterator[tuple[Severity, str]]:
    """Yield what was found about a model's end tokens: some left out, or sources that differ."""
    used = end_tokens(directory)
    by_source = {name: _named_ends(directory, name) for name in _SOURCES}
    named = next(ids for ids in by_source.values() if ids)
    if left_out := named - used:
        text = (
            f"{name}: no text can end in the tokens {_listed(left_out)}, which the tokenizer or "
            "the head lacks; they are left out of the end tokens."
        )
        yield "note", text
    own = _tokenizer_end(directory)
    differ = {ids for ids in (*by_source.values(), own) if ids}
    if len(differ) > 1:
        sources = {**by_source, "the tokenizer": own}
        found = ", ".join(f"{name}: {_listed(ids)}" for name, ids in sources.items() if ids)
        served = (named | own) - left_out
        text = (
            f"{name}: its end tokens differ ({found}). Here texts end in {_listed(used)}; a server "
            f"such as vLLM ends them in {_listed(served)}."
        )
        yield "warning", text


def _named_ends(directory: Path, name: str) -> frozenset[int]:
    """Return the end tokens that a file names; empty if it names none."""
    config = read_config(directory / name)
    ids = config.get("eos_token_id", config.get("text_config", {}).get("eos_token_id"))
    return frozenset() if ids is None else frozenset([ids] if isinstance(ids, int) else ids)


def _listed(ids: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(ids)))


def _writable(directory: Path, ids: frozenset[int]) -> frozenset[int]:
    """Return the ids that the tokenizer and the head have, as far as the files say."""
    config, known = read_config(directory / "config.json"), _tokenizer_ids(directory).values()
    rows = config.get("vocab_size", config.get("text_config", {}).get("vocab_size"))
    in_head = ids if not isinstance(rows, int) else frozenset(i for i in ids if 0 <= i < rows)
    return in_head & frozenset(known) if known else in_head


def _tokenizer_ids(directory: Path) -> dict[str, int]:
    """Return the ids of tokenizer.json by token; empty without that file."""
    stored = read_config(directory / "tokenizer.json")
    vocabulary = stored.get("model", {}).get("vocab", {})
    if isinstance(vocabulary, list):  # Unigram: pairs of a token and its score
        vocabulary = {pair[0]: index for index, pair in enumerate(vocabulary)}
    return {**vocabulary, **{one["content"]: one["id"] for one in stored.get("added_tokens", ())}}


def _tokenizer_end(directory: Path) -> frozenset[int]:
    """Return the tokenizer's own end token; empty if its files name none."""
    token = read_config(directory / "tokenizer_config.json").get("eos_token")
    text = token.get("content") if isinstance(token, dict) else token
    index = _tokenizer_ids(directory).get(text) if isinstance(text, str) else None
    return frozenset() if index is None else frozenset([index])


def vocabulary_size(tokenizer: Any, head_rows: int) -> int:
    """Return the size of the vocabulary: one more than the largest id, at most the head's rows.

    Raises UserError if an ordinary token, one that the tokenizer was not given later, has no row.
    """
    largest = max(tokenizer.get_vocab().values())
    beyond = [token for token, index in tokenizer.get_vocab().items() if index >= head_rows]
    ordinary = [token for token in beyond if token not in tokenizer.get_added_vocab()]
    if ordinary:
        check_head_rows(head_rows, largest + 1)
    return int(min(largest + 1, head_rows))


def check_head_rows(rows: int, vocab_size: int) -> None:
    """Raise UserError if the head has fewer rows than the vocabulary has ids."""
    if vocab_size > rows:
        raise UserError(
            f"The tokenizer has {vocab_size} tokens, but the model's head has only {rows} rows; "
            "check the model's folder, or the vocab_size of a random draft."
        )


def tokenizer_notes(tokenizer: Any, head_rows: int, name: str) -> Iterator[tuple[Severity, str]]:
    """Yield what was found about a tokenizer: tokens without a row, tokens that it appends."""
    beyond = [token for token, index in tokenizer.get_vocab().items() if index >= head_rows]
    if beyond:
        shown = ", ".join(map(repr, beyond[:3]))
        text = (
            f"{name}: its head has no row for {shown}; a text that holds such a token is refused."
        )
        yield "note", text
    if appended := appended_tokens(tokenizer):
        shown = ", ".join(tokenizer.convert_ids_to_tokens(appended))
        text = f"{name}: its tokenizer ends a text with {shown}, which is left out of prompts."
        yield "note", text


def check_ids(example_id: str, token_ids: Sequence[int], vocab_size: int) -> None:
    """Raise UserError for a text with an id that the head has no row for."""
    if beyond := [token for token in token_ids if token >= vocab_size]:
        raise UserError(
            f"{example_id} holds the token {beyond[0]}, but the model has rows for tokens below "
            f"{vocab_size} only; leave the row out."
        )
