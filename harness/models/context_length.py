"""The context length of a model, from its config, whatever the family calls it.

Scaled rotary positions (`rope_parameters`, formerly `rope_scaling`) change it. YaRN and linear
scaling stretch the original length by their factor. "dynamic" and "longrope" choose the angles of
all tokens by the length of the text, once it exceeds the original length: beyond that length one
pass over a text does not give what the model gave as it wrote the text, so draftmark stops there.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

UNLIMITED = sys.maxsize  # no table of positions: ALiBi, state spaces
# The names of vLLM (`_get_and_verify_max_len` in vllm/config/model.py at 0.32).
_NAMES = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
_STRETCHED = ("linear", "yarn")
_BY_LENGTH = ("dynamic", "longrope", "su")


def context_length(config: Mapping[str, Any]) -> int:
    """Return the number of tokens that fit the context of a model with a config."""
    config = {**config, **(config.get("text_config") or {})}
    lengths = [config[name] for name in _NAMES if isinstance(config.get(name), int)]
    length = min((one for one in lengths if one > 0), default=UNLIMITED)
    return min((_scaled(length, rotary, config) for rotary in _rotary(config)), default=length)


def _scaled(length: int, rotary: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    kind = rotary.get("rope_type", rotary.get("type"))
    name = "original_max_position_embeddings"
    original = int(rotary.get(name) or config.get(name) or length)
    if kind in _STRETCHED:
        return max(length, int(original * float(rotary.get("factor") or 1)))
    return min(length, original) if kind in _BY_LENGTH else length


def _rotary(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the settings of rotary positions: one for all layers, or one for each kind of layer."""
    settings = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if "rope_type" in settings or "type" in settings:
        yield settings
    else:
        yield from (one for one in settings.values() if isinstance(one, Mapping))
