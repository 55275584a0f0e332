"""What the tests of feature heads share: heads of small targets of every family, trained little."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from harness.heads.feature_heads import FeatureHead, Shape
from harness.heads.head_inits import make_head
from harness.models import LanguageModel

_SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
OWN: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 4},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "gpt_neox": {"rotary_pct": 0.5},
    "phi": {"partial_rotary_factor": 0.5},
}
ARCHITECTURES = {"eagle": (4,), "eagle3": (1, 2, 3)}


def small_target(family: str) -> LanguageModel:
    """Return a random target of a family."""
    config = AutoConfig.for_model(family, **_SMALL, **OWN[family])
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    return LanguageModel(model, config.vocab_size)


def small_head(target: LanguageModel, architecture: Any, **options: Any) -> FeatureHead:
    """Return a random head of a target; `draft_ids` cut its vocabulary."""
    ids = options.get("draft_ids")
    size = None if ids is None else len(ids)
    layers = ARCHITECTURES[architecture]
    return make_head(
        target, Shape(architecture, layers, target.vocab_size, size), seed=0, **options
    )
