"""Writes a feature head as vLLM loads it, in each of three layouts.

`eagle` for EAGLE-1; `eagle3` as EAGLE-3's authors publish heads, and `speculators` as those of
https://github.com/vllm-project/speculators, which names its target and needs no method in vLLM's
`speculative_config`. vLLM's heads are Llama layers, so only those of Llama targets can be written.
All have an fc that joins the embedding first, then the features from low to high.

Legend: V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Verifier:
    """The target that a head is for: where it is found, and how many tokens are drafted for it."""

    name_or_path: str
    num_speculative_tokens: int


def export(head: FeatureHead, layout: Layout, verifier: Verifier, directory: Path) -> None:
    """Write config and weights; raises UserError for a layout that is not of this head."""
    module, shape = head.model, head.model.shape
    family = module.config.model_type
    if layout not in LAYOUTS[shape.kind]:
        raise UserError(
            f"The layout {layout!r} is not of {shape.kind} heads; take "
            f"{' or '.join(LAYOUTS[shape.kind])}."
        )
    if family != "llama":
        raise UserError(
            f"vLLM's heads are Llama layers, and this one is of {family!r}; it runs in the "
            "reference engine."
        )
    layer = {**module.config.to_dict(), "num_hidden_layers": 1, "model_type": "llama"}
    if layout == "eagle":
        told, weights = {**layer, "architectures": ["LlamaForCausalLM"]}, _of_eagle(head)
    elif layout == "eagle3":
        architectures = ["LlamaForCausalLMEagle3"]
        told = {**layer, **_facts(head), "architectures": architectures}
        weights = {k.replace("layers.0.", "midlayer."): v for k, v in _of_eagle3(head).items()}
    else:
        told, weights = _speculators_config(head, layer, verifier), _of_eagle3(head)
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / CONFIG, told)
    save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, directory / WEIGHTS)


def _of_eagle(head: FeatureHead) -> dict[str, torch.Tensor]:
    """Return EAGLE-1's tensors: no norm but the MLP's, the output head is the target's."""
    return {**_body(head), "fc.weight": head.model.fc.weight}


def _of_eagle3(head: FeatureHead) -> dict[str, torch.Tensor]:
    """Return EAGLE-3's tensors; the embedding is the target's and left out.

    A vocabulary that is not all of the target's rows comes with its maps: `d2t` says how far an id
    of the draft is from the target's, `t2d` which of the target's there are.
    """
    module = head.model
    kept_V = _draft_ids(head)
    output = module.get_output_embeddings().weight[: len(kept_V)]
    weights = {
        **{name: value for name, value in _body(head).items() if name != "embed_tokens.weight"},
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
    """Return the target's ids of the draft's vocabulary; those that pad its head are left out."""
    if head.model.shape.draft_vocab_size:
        return head.model.draft_ids_V.cpu()
    return torch.arange(head.vocab_size)


def _body(head: FeatureHead) -> dict[str, torch.Tensor]:
    """Return the tensors of the embedding and the layer by vLLM's names."""
    found = {}
    for name, value in head.model.causal.base_model.state_dict().items():
        for own, theirs in _NAMES.items():
            name = name.replace(own, theirs)
        found[name] = value
    return found


def _facts(head: FeatureHead) -> dict[str, Any]:
    """Return what the configs of both EAGLE-3 layouts say besides the layer's own."""
    shape = head.model.shape
    return {
        "draft_vocab_size": len(_draft_ids(head)),
        "eagle_aux_hidden_state_layer_ids": list(shape.layers),
        "norm_before_residual": False,
        "target_hidden_size": head.hidden_size,
    }


def _speculators_config(
    head: FeatureHead, layer: Mapping[str, Any], verifier: Verifier
) -> dict[str, Any]:
    proposal = {
        "proposal_type": "greedy",
        "speculative_tokens": verifier.num_speculative_tokens,
        "accept_tolerance": 0.0,
        "verifier_accept_k": 1,
    }
    return {
        "architectures": ["Eagle3DraftModel"],
        "speculators_model_type": "eagle3",
        "speculators_version": "0.4.0",
        **_facts(head),
        "embed_requires_grad": False,
        "tie_word_embeddings": False,
        "transformer_layer_config": dict(layer),
        "speculators_config": {
            "algorithm": "eagle3",
            "default_proposal_method": "greedy",
            "proposal_methods": [proposal],
            "verifier": {
                "name_or_path": verifier.name_or_path,
                "architectures": ["LlamaForCausalLM"],
            },
        },
    }
