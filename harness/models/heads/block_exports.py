"""Exports a block head to vLLM.

Each architecture has the layout of its authors, which is named like it (P-EAGLE's is EAGLE-3's with
`mask_hidden`), and all but Medusa and Domino that of https://github.com/vllm-project/speculators,
which also names the target. vLLM 0.32 has no Domino: SpecForge reads its layout. vLLM
takes embedding and output head from the target where a layout has none. A config names layers by
what comes out of them, except `target_layer_ids`, which counts from 0.

vLLM 0.32 sizes a block by `num_speculative_tokens`. Where the slots of a block see each other
(DFlash, DSpark), only as many tokens as the head was trained with give what scoring predicts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import load_file, save_file

from draftmark.errors import UserError
from draftmark.models.heads.block_head import BlockHead
from draftmark.models.heads.dflash_head import DFlashModule
from draftmark.models.heads.domino_head import DominoModule
from draftmark.models.heads.dspark_head import DSparkModule
from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_exports import CONFIG, WEIGHTS, Layout, export_head
from draftmark.models.heads.medusa_head import MedusaModule
from draftmark.models.heads.p_eagle_head import PEagleModule
from draftmark.store.store import write_json

BlockLayout = Literal["medusa", "eagle3", "dflash", "dspark", "domino", "speculators"]
Tensors = dict[str, torch.Tensor]
_ENDS = ("embedding.", "output.", "rotary.")
_SPECULATORS_VERSION = "0.9.0"
_RENAMED = {"markov_w": "markov_head.markov_w", "confidence.": "confidence_head.proj."}


@dataclass(frozen=True)
class _Target:
    """What an export says of the target."""

    name: str
    architecture: str


def block_layouts(head: BlockHead) -> tuple[BlockLayout, ...]:
    """Return the layouts of a head; the first is the one that its authors publish.

    Raises UserError for a head of another kind, and for one that vLLM cannot hold.
    """
    if head.model.shape.biased_output:
        raise UserError(
            "vLLM's heads have an output head without a bias, and the target's has one; run the "
            "draft in the reference engine."
        )
    match head.model:
        case MedusaModule():
            return ("medusa",)
        case PEagleModule():
            return ("eagle3", "speculators")
        case DSparkModule():
            return ("dspark", "speculators")
        case DominoModule():
            return ("domino",)
        case DFlashModule():
            return ("dflash", "speculators")
    raise UserError(
        f"vLLM has no layout for {type(head.model).__name__}; run it in the reference engine."
    )


def export_block_head(
    head: BlockHead, layout: BlockLayout, directory: Path, *, target: str
) -> None:
    """Write config and weights of a head in a layout; raises UserError for one that does not fit.

    `target` is the target's name or path.
    """
    if layout not in (layouts := block_layouts(head)):
        raise UserError(f"The layout {layout!r} does not fit this head; take {layouts[0]!r}.")
    if isinstance(head.model, PEagleModule):
        _export_p_eagle(head, head.model, layout, directory, target)
        return
    named = _Target(target, (head.model.config.architectures or ["LlamaForCausalLM"])[0])
    if isinstance(head.model, DFlashModule):
        config, tensors = _dflash_config(head.model, layout, named), _dflash_tensors(head.model)
    else:
        assert isinstance(head.model, MedusaModule)
        config, tensors = _medusa_config(head.model), _medusa_tensors(head.model)
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / CONFIG, config)
    _save(tensors, directory)


def _save(tensors: Tensors, directory: Path) -> None:
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, directory / WEIGHTS)


def _medusa_config(module: MedusaModule) -> dict[str, Any]:
    return {
        "architectures": ["MedusaModel"],
        "model_type": "medusa",
        "hidden_size": module.config.hidden_size,
        "vocab_size": module.config.vocab_size,
        "num_heads": module.shape.block_size,
        "num_hidden_layers": len(module.stacks[0]),  # type: ignore[arg-type]
        "medusa_fc_bias": True,
        "original_lm_head": True,
    }


def _medusa_tensors(module: MedusaModule) -> Tensors:
    """Return the residual blocks by vLLM's names, and the target's output head."""
    tensors: Tensors = {"lm_head.weight": module.output.weight}
    for name, value in module.stacks.state_dict().items():
        slot, layer, kind = name.split(".")
        tensors[f"blocks.{slot}.layers.{layer}.{kind}"] = value
    return tensors


def _dflash_tensors(module: DFlashModule) -> Tensors:
    """Return the tensors by the names of the layouts; DSpark's with the masked embedding's."""
    tensors: Tensors = {}
    for name, value in module.state_dict().items():
        if not name.startswith(_ENDS):
            for own, theirs in _RENAMED.items():
                name = name.replace(own, theirs, 1) if name.startswith(own) else name
            tensors[name] = value
    return tensors


def _dflash_config(module: DFlashModule, layout: BlockLayout, target: _Target) -> dict[str, Any]:
    shape = module.shape
    layers = {**module.layer_config.to_dict(), "tie_word_embeddings": False}
    slots = shape.block_size + (not module.anchor_predicts)
    facts: dict[str, Any] = {"block_size": slots, "mask_token_id": shape.mask_token}
    if isinstance(module, DSparkModule):
        facts |= {
            "markov_rank": module.joined_width,
            "markov_head_type": "vanilla",
            "enable_confidence_head": True,
            "confidence_head_with_markov": True,
        }
    if layout == "speculators":
        return {**facts, **_speculators_config(module, layers, target)}
    from_zero = [layer - 1 for layer in shape.layers]
    facts["num_target_layers"] = module.config.num_hidden_layers  # asked for by the authors' code
    if layout == "dspark":
        own = {"target_layer_ids": from_zero, "sample_from_anchor": True}
        return {**layers, **facts, **own, "architectures": ["Qwen3DSparkModel"]}
    own = {"mask_token_id": shape.mask_token, "target_layer_ids": from_zero}
    if isinstance(module, DominoModule):
        own |= _domino_config(module)
    name = "DominoDraftModel" if isinstance(module, DominoModule) else "DFlashDraftModel"
    return {**layers, **facts, "dflash_config": own, "architectures": [name]}


def _domino_config(module: DominoModule) -> dict[str, Any]:
    return {
        "projector_type": "domino",
        "emb_dim": module.joined_width,
        "gru_hidden_dim": module.prefix_gru.hidden_size,
        "pure_draft_prefix_len": module.uncorrected,
        "shift_label": True,
    }


def _speculators_config(
    module: DFlashModule, layers: Mapping[str, Any], target: _Target
) -> dict[str, Any]:
    name = "dspark" if isinstance(module, DSparkModule) else "dflash"
    return {
        "architectures": ["DSparkSpeculator" if name == "dspark" else "DFlashSpeculator"],
        "speculators_model_type": name,
        "speculators_version": _SPECULATORS_VERSION,
        "draft_vocab_size": module.config.vocab_size,
        "target_hidden_size": module.config.hidden_size,
        "aux_hidden_state_layer_ids": list(module.shape.layers),
        "sample_from_anchor": module.anchor_predicts,
        # vLLM 0.32 takes False, speculators' default, for causal attention in every layer.
        "sliding_window_non_causal": True,
        "tie_word_embeddings": False,
        "transformer_layer_config": dict(layers),
        "speculators_config": _algorithm(name, module.shape.block_size, target),
    }


def _algorithm(name: str, num_tokens: int, target: _Target) -> dict[str, Any]:
    proposal = {
        "proposal_type": "greedy",
        "speculative_tokens": num_tokens,
        "accept_tolerance": 0.0,
        "verifier_accept_k": 1,
    }
    return {
        "algorithm": name,
        "default_proposal_method": "greedy",
        "proposal_methods": [proposal],
        "verifier": {"name_or_path": target.name, "architectures": [target.architecture]},
    }


def _export_p_eagle(
    head: BlockHead, module: PEagleModule, layout: BlockLayout, directory: Path, target: str
) -> None:
    """Write EAGLE-3's layout and what P-EAGLE adds: `mask_hidden`, and its own embedding.

    The embedding is the target's, with the learned mask embedding as the row of the mask token.
    """
    eagle, kind = FeatureHead(module.eagle, head.vocab_size), cast(Layout, layout)
    count = head.block_size
    export_head(eagle, kind, directory, target=target, num_speculative_tokens=count)
    embedding = module.embedding.weight.detach().cpu().clone()
    embedding[module.shape.mask_token] = module.mask_embedding.detach().cpu()
    added = {"mask_hidden": module.mask_hidden[None, None], "embed_tokens.weight": embedding}
    _save(load_file(directory / WEIGHTS) | added, directory)
    config = json.loads((directory / CONFIG).read_text("utf-8"))
    layers = config.get("transformer_layer_config", config)
    layers["num_hidden_layers"] = module.eagle.causal.config.num_hidden_layers
    config |= {"mask_token_id": module.shape.mask_token, "block_size": count}
    if layout == "speculators":
        config |= {"architectures": ["PEagleSpeculator"], "speculators_model_type": "peagle"}
        config |= {"embed_requires_grad": True, "speculators_version": _SPECULATORS_VERSION}
        config["speculators_config"]["algorithm"] = "peagle"
    write_json(directory / CONFIG, config)
