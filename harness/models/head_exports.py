"""Exports a feature head to vLLM, in one of three layouts.

`eagle` for EAGLE-1; `eagle3` as EAGLE-3's authors publish heads; `speculators` as
https://github.com/vllm-project/speculators publishes them: it names the target, so vLLM's
`speculative_config` needs no method. vLLM's heads are Llama layers, so only heads of Llama targets
can be exported. In all layouts `fc` reads the embedding first, then the features from the lowest
layer to the highest.

Legend: V vocabulary.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from draftmark.errors import UserError
from draftmark.models.feature_head import FeatureHead
from draftmark.store.store import write_json

Layout = Literal["eagle", "eagle3", "speculators"]
LAYOUTS: Mapping[str, tuple[Layout, ...]] = {
    "eagle": ("eagle",),
    "eagle3": ("eagle3", "speculators"),
}
WEIGHTS, CONFIG = "model.safetensors", "config.json"
_JOINED = "layers.0.input_layernorm."
_NAMES = {
    f"{_JOINED}embedding_norm.": "layers.0.input_layernorm.",
    f"{_JOINED}feature_norm.": "layers.0.hidden_norm.",
}


def export_head(
    head: FeatureHead, layout: Layout, directory: Path, *, target: str, num_speculative_tokens: int
) -> None:
    """Write config and weights; raises UserError for a layout that does not fit the head.

    `target` is the target's name or path, `num_speculative_tokens` how many tokens vLLM drafts.
    """
    module, shape = head.model, head.model.shape
    family = module.config.model_type
    if layout not in LAYOUTS[shape.kind]:
        raise UserError(
            f"The layout {layout!r} does not fit {shape.kind} heads; take "
            f"{' or '.join(LAYOUTS[shape.kind])}."
        )
    if family != "llama":
        raise UserError(
            f"vLLM's heads are Llama layers, and the layer of this head is {family!r}; run it in "
            "the reference engine."
        )
    layer = {**module.config.to_dict(), "num_hidden_layers": 1, "model_type": "llama"}
    if layout == "eagle":
        config: dict[str, Any] = {**layer, "architectures": ["LlamaForCausalLM"]}
        weights = {**_body_tensors(head), "fc.weight": module.fc.weight}
    elif layout == "eagle3":
        config = {**layer, **_eagle3_facts(head), "architectures": ["LlamaForCausalLMEagle3"]}
        tensors = _eagle3_tensors(head)
        weights = {k.replace("layers.0.", "midlayer."): v for k, v in tensors.items()}
    else:
        config = _speculators_config(head, layer, target, num_speculative_tokens)
        weights = _eagle3_tensors(head)
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / CONFIG, config)
    save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, directory / WEIGHTS)


def _eagle3_tensors(head: FeatureHead) -> dict[str, torch.Tensor]:
    """Return EAGLE-3's tensors, without the embedding, which is the target's.

    A draft vocabulary adds two maps: `d2t` is target id minus draft id, by draft id; `t2d` is True
    for each target id in the draft vocabulary.
    """
    module = head.model
    kept_V = _draft_ids(head)
    output = module.get_output_embeddings().weight[: len(kept_V)]
    weights = {
        **{k: v for k, v in _body_tensors(head).items() if k != "embed_tokens.weight"},
        "fc.weight": module.fc.weight,
        "norm.weight": module.norm.weight,
        "lm_head.weight": output,
    }
    if len(kept_V) < module.config.vocab_size:
        known_V = torch.zeros(module.config.vocab_size, dtype=torch.bool)
        known_V[kept_V] = True
        weights |= {"d2t": kept_V - torch.arange(len(kept_V)), "t2d": known_V}
    return weights


def _draft_ids(head: FeatureHead) -> torch.Tensor:
    """Return the target's ids of the draft vocabulary, without padding ids."""
    if head.model.shape.draft_vocab_size:
        return head.model.draft_ids_V.cpu()
    return torch.arange(head.vocab_size)


def _body_tensors(head: FeatureHead) -> dict[str, torch.Tensor]:
    """Return the tensors of the embedding and the layer by vLLM's names."""
    tensors = {}
    for name, value in head.model.causal.base_model.state_dict().items():
        for old, new in _NAMES.items():
            name = name.replace(old, new)
        tensors[name] = value
    return tensors


def _eagle3_facts(head: FeatureHead) -> dict[str, Any]:
    """Return the config values that both EAGLE-3 layouts add to the layer's."""
    shape = head.model.shape
    return {
        "draft_vocab_size": len(_draft_ids(head)),
        "eagle_aux_hidden_state_layer_ids": list(shape.layers),
        "norm_before_residual": False,
        "target_hidden_size": head.hidden_size,
    }


def _speculators_config(
    head: FeatureHead, layer: Mapping[str, Any], target: str, num_speculative_tokens: int
) -> dict[str, Any]:
    proposal = {
        "proposal_type": "greedy",
        "speculative_tokens": num_speculative_tokens,
        "accept_tolerance": 0.0,
        "verifier_accept_k": 1,
    }
    return {
        "architectures": ["Eagle3DraftModel"],
        "speculators_model_type": "eagle3",
        "speculators_version": "0.4.0",
        **_eagle3_facts(head),
        "embed_requires_grad": False,
        "tie_word_embeddings": False,
        "transformer_layer_config": dict(layer),
        "speculators_config": {
            "algorithm": "eagle3",
            "default_proposal_method": "greedy",
            "proposal_methods": [proposal],
            "verifier": {"name_or_path": target, "architectures": ["LlamaForCausalLM"]},
        },
    }
