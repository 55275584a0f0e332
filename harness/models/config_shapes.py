"""The shapes of a model's JSON files, as far as draftmark reads them itself.

transformers reads the rest when it loads the model. Other keys may be there.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from draftmark.store.reading import read_json

FIX = "fix the model's folder, or download the model again"
_Size = Annotated[int, Field(ge=1, lt=2**40)]
_Id = Annotated[int, Field(ge=-1, lt=2**40)]
_TokenId = Annotated[int, Field(ge=-1, lt=2**24)]  # the library walks through all ids up to it
_Ends = _Id | list[_Id] | None
_Rotary = dict[str, Any] | None


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True)


class _Ended(_Shape):
    eos_token_id: _Ends = None


class _TextConfig(_Ended):
    """The sizes of a language model, under the names of Llama and of GPT-2."""

    hidden_size: _Size | None = None
    n_embd: _Size | None = None
    num_attention_heads: _Size | None = None
    n_head: _Size | None = None
    num_key_value_heads: _Size | None = None
    head_dim: _Size | None = None
    num_hidden_layers: _Size | None = None
    n_layer: _Size | None = None
    vocab_size: _Size | None = None
    tie_word_embeddings: bool | None = None
    rope_parameters: _Rotary = None
    rope_scaling: _Rotary = None


class _Config(_TextConfig):
    model_type: str = ""
    text_config: _TextConfig | None = None


class _AddedToken(_Shape):
    content: str
    id: _Id


class _Vocabulary(_Shape):
    vocab: dict[str, _TokenId] | list[tuple[str, float]] = {}


class _Tokenizer(_Shape):
    model: _Vocabulary = _Vocabulary()
    added_tokens: list[_AddedToken] = []


class _Content(_Shape):
    content: str


class _TokenizerConfig(_Shape):
    eos_token: str | _Content | None = None


_KINDS: dict[str, type[BaseModel]] = {
    "config.json": _Config,
    "generation_config.json": _Ended,
    "tokenizer.json": _Tokenizer,
    "tokenizer_config.json": _TokenizerConfig,
}


def check_configs(directory: Path) -> None:
    """Raise UserError if a JSON file of a model's folder is malformed."""
    for name, kind in _KINDS.items():
        if (directory / name).exists():
            read_json(directory / name, kind, FIX)
