"""Exports a feature head to vLLM, in one of three layouts.

`eagle` for EAGLE-1; `eagle3` as EAGLE-3's authors publish heads; `speculators` as
https://github.com/vllm-project/speculators publishes them: it names the target, so vLLM's
`speculative_config` needs no method. vLLM 0.32 has EAGLE-1 heads with layers of Llama, EAGLE-3
heads with layers of Llama and of Qwen3 (`qwen3_eagle3.py`), so heads of other targets are refused.
In all layouts `fc` reads the embedding first, then the features from the lowest layer to the
highest. `models.heads.head_imports` reads every layout back: the same head to the bit.

EAGLE-3's embedding is left out if it is the target's: vLLM takes the target's then.

Legend: V vocabulary.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from draftmark.errors import UserError
from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_layouts import LAYER_KEYS
from draftmark.store.store import write_json

Layout = Literal["eagle", "eagle3", "speculators"]
LAYOUTS: Mapping[str, tuple[Layout, ...]] = {
    "eagle": ("eagle",),
    "eagle3": ("eagle3", "speculators"),
    "mtp": (),  # vLLM runs MTP heads only of models that come with one
}
WEIGHTS, CONFIG = "model.safetensors", "config.json"
_ARCHITECTURES = {"llama": "LlamaForCausalLMEagle3", "qwen3": "Eagle3Qwen3ForCausalLM"}
_TARGETS = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}
_OWN = ("fc.", "norm.", "fc_norm.", "input_norm.")  # of a HeadModule, by the names of a file
_JOINED = "layers.0.input_layernorm."
_NAMES = {
    f"{_JOINED}embedding_norm.": "layers.0.input_layernorm.",
    f"{_JOINED}feature_norm.": "layers.0.hidden_norm.",
}


def export_head(
    head: FeatureHead,
    layout: Layout,
    directory: Path,
    *,
    target: str,
    num_speculative_tokens: int,
    architectures: Sequence[str] = (),
) -> None:
    """Write config and weights; raises UserError for a layout that does not fit the head.

    `target` is the target's name or path and `architectures` are those of its config [default: by
    the head's layer]; `num_speculative_tokens` is how many tokens vLLM drafts.
    """
    _check_layout(head, layout)
    whole = head.model.config.to_dict()
    layer = {name: value for name, value in whole.items() if name in LAYER_KEYS}
    layer["tie_word_embeddings"] = False
    if layout == "eagle":
        config: dict[str, Any] = {**layer, "architectures": ["LlamaForCausalLM"]}
        weights = _eagle_tensors(head)
    elif layout == "eagle3":
        architecture = _ARCHITECTURES[layer["model_type"]]
        config = {**layer, **_eagle3_facts(head), "architectures": [architecture]}
        tensors = _eagle3_tensors(head)
        weights = {k.replace("layers.0.", "midlayer."): v for k, v in tensors.items()}
    else:
        verifier = {
            "name_or_path": target,
            "architectures": list(architectures) or [_TARGETS[layer["model_type"]]],
        }
        config = _speculators_config(head, layer, verifier, num_speculative_tokens)
        weights = _eagle3_tensors(head)
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / CONFIG, config)
    save_file(
        {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}, directory / WEIGHTS
    )


def _check_layout(head: FeatureHead, layout: Layout) -> None:
    """Raise UserError for a layout that does not fit the head, and for a head unknown to vLLM."""
    shape, family = head.model.shape, head.model.config.model_type
    if layout not in LAYOUTS[shape.kind]:
        raise UserError(
            f"The layout {layout!r} does not fit {shape.kind} heads; take "
            f"{' or '.join(LAYOUTS[shape.kind]) or 'another method'}."
        )
    families = ("llama",) if layout == "eagle" else tuple(_ARCHITECTURES)
    if family not in families:
        raise UserError(
            f"vLLM's {shape.kind} heads have layers of {' or '.join(families)}, and the layer of "
            f"this head is {family!r}; run it in the reference engine."
        )
    if shape.fc_bias:
        raise UserError(
            "vLLM's heads have no bias in fc, and this one has; run it in the reference engine."
        )


def _eagle_tensors(head: FeatureHead) -> dict[str, torch.Tensor]:
    """Return EAGLE-1's tensors; its embedding is written, as its authors do."""
    return {**_body_tensors(head), "fc.weight": head.model.fc.weight}


def _eagle3_tensors(head: FeatureHead) -> dict[str, torch.Tensor]:
    """Return EAGLE-3's tensors, without an embedding that is the target's.

    A draft vocabulary adds two maps: `d2t` is target id minus draft id, by draft id; `t2d` is True
    for each target id in the draft vocabulary.
    """
    module = head.model
    kept_V = _draft_ids(head)
    output = module.get_output_embeddings().weight[: len(kept_V)]
    own = {k: v for k, v in module.state_dict().items() if k.startswith(_OWN)}
    weights = {**_body_tensors(head), **own, "lm_head.weight": output}
    if not module.shape.own_embedding:
        del weights["embed_tokens.weight"]
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
    facts = {
        "draft_vocab_size": len(_draft_ids(head)),
        "eagle_aux_hidden_state_layer_ids": list(shape.layers),
        "norm_before_residual": shape.norm_before_residual,
        "target_hidden_size": shape.state_size or head.hidden_size,
    }
    # Written only where they are true: specforge 0.2 gives `norm_output = false` another meaning.
    flags = ("fc_norm", "norm_output", "norm_before_fc")
    return {**facts, **{name: True for name in flags if getattr(shape, name)}}


def _speculators_config(
    head: FeatureHead,
    layer: Mapping[str, Any],
    verifier: Mapping[str, Any],
    num_speculative_tokens: int,
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
            "verifier": dict(verifier),
        },
    }
