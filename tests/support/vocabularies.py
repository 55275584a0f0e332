"""Copies of a model whose tokenizer has other ids, and other tokens, than the original's."""

import copy
import random
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from draftmark.models.language_model import LanguageModel, save_model

PADDING = 7  # more rows of the copy's head than tokens


def tokenizer_of(ids: Mapping[str, int], **special: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer without merges that has these ids."""
    core = Tokenizer(models.BPE(dict(ids), merges=[], unk_token=special.get("unk_token")))
    return PreTrainedTokenizerFast(tokenizer_object=core, **special)


def with_other_ids(
    loaded: LanguageModel, tokenizer: Any, lost: Collection[int] = ()
) -> tuple[LanguageModel, PreTrainedTokenizerFast, list[int]]:
    """Return a copy with shuffled ids, its tokenizer, and its id of each of the original's tokens.

    Tokens in `lost` have other strings in the copy, and its unknown token is the original's 5.
    """
    own = list(range(loaded.vocab_size))
    random.Random(0).shuffle(own)
    words = {index: token for token, index in tokenizer.get_vocab().items()}
    renamed = {index: f"<lost {index}>" if index in lost else words[index] for index in words}
    ids = {token: own[index] for index, token in renamed.items()}
    made = copy.deepcopy(loaded.model)
    made.resize_token_embeddings(loaded.vocab_size + PADDING, mean_resizing=False)
    with torch.no_grad():
        for old, new in (
            (loaded.model.get_input_embeddings(), made.get_input_embeddings()),
            (loaded.model.get_output_embeddings(), made.get_output_embeddings()),
        ):
            new.weight[own] = old.weight[: loaded.vocab_size]
    special = {"unk_token": renamed[5], "eos_token": renamed[tokenizer.eos_token_id]}
    return LanguageModel(made, loaded.vocab_size), tokenizer_of(ids, **special), own


def save_with_other_ids(
    loaded: LanguageModel, tokenizer: Any, folder: Path, lost: Collection[int] = ()
) -> Path:
    """Write the copy that `with_other_ids` makes."""
    made, words, _ = with_other_ids(loaded, tokenizer, lost)
    save_model(made, words, folder)
    return folder
