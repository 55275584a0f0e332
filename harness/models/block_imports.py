"""Reads a block head from a layout of `block_exports`, whoever trained it.

Legend: V vocabulary.
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import Qwen3Config

from draftmark.errors import UserError
from draftmark.models.block_head import BlockHead, BlockModule, BlockShape
from draftmark.models.dflash_head import DFlashModule
from draftmark.models.dspark_head import DSparkModule
from draftmark.models.head_exports import CONFIG, WEIGHTS
from draftmark.models.language_model import LanguageModel
from draftmark.models.medusa_head import MedusaModule
from draftmark.models.p_eagle_head import PEagleModule

Tensors = dict[str, torch.Tensor]
_DFLASH = {"markov_head.markov_w": "markov_w", "confidence_head.proj.": "confidence."}
_EAGLE = {
    "midlayer.": "layers.0.",
    "layers.0.input_layernorm.": "layers.0.input_layernorm.embedding_norm.",
    "layers.0.hidden_norm.": "layers.0.input_layernorm.feature_norm.",
}
_MAPS = ("d2t", "t2d")


@dataclass(frozen=True)
class _Files:
    """A folder's config, the part of it that describes the layers, and its tensors."""

    directory: Path
    config: Mapping[str, Any]
    tensors: Tensors

    @property
    def layers(self) -> Mapping[str, Any]:
        layers: Mapping[str, Any] = self.config.get("transformer_layer_config", self.config)
        return layers

    @property
    def kind(self) -> str:
        """The name of the architecture."""
        named = [self.config.get(key) for key in ("speculators_model_type", "model_type")]
        named += self.config.get("architectures") or []
        if "mask_hidden" in self.tensors:
            return "p_eagle"
        if "markov_head.markov_w1.weight" in self.tensors:
            return "dspark"
        known = {"medusa": "medusa", "dflash": "dflash", "DFlashDraftModel": "dflash"}
        return next((known[name] for name in named if name in known), "")


def read_block_head(directory: Path, target: LanguageModel) -> BlockHead:
    """Return the head in an exported folder, for its target, in evaluation mode.

    Raises UserError for another architecture, a draft vocabulary, and tensors that do not fit.
    """
    config = json.loads((directory / CONFIG).read_text("utf-8"))
    files = _Files(directory, config, load_file(directory / WEIGHTS))
    if files.kind not in _READERS:
        raise UserError(
            f"{directory} holds no block head that is known; take a head in the layout of "
            f"{', '.join(_READERS)}."
        )
    with torch.random.fork_rng(devices=[]):
        module, tensors = _READERS[files.kind](files, target)
    with torch.no_grad():
        module.take(target.model)
        _fill(files, module, tensors)
    return BlockHead(module.to(target.device).eval(), target.vocab_size)


def _fill(files: _Files, module: BlockModule, tensors: Tensors) -> None:
    """Load a head's tensors; those of embedding and output head stay the target's if not given."""
    missing, unexpected = module.load_state_dict(tensors, strict=False)
    ends = [
        each.data_ptr() for end in (module.embedding, module.output) for each in end.parameters()
    ]
    state = module.state_dict()
    lacking = [name for name in missing if state[name].data_ptr() not in ends]
    if lacking or unexpected:
        wrong = f"lacks {lacking[0]!r}" if lacking else f"holds the unknown {unexpected[0]!r}"
        raise UserError(f"{files.directory / WEIGHTS} {wrong}; export or download the head again.")


def _shape(files: _Files, target: LanguageModel, layers: Any, block_size: int) -> BlockShape:
    own = files.config.get("dflash_config") or files.config
    biased = target.model.get_output_embeddings().bias is not None
    mask = int(own.get("mask_token_id", 0))
    return BlockShape(tuple(layers), target.vocab_size, block_size, mask, biased)


def _check_whole_vocabulary(files: _Files, target: LanguageModel) -> None:
    rows = files.config.get("draft_vocab_size")
    if rows is not None and rows < target.vocab_size:
        raise UserError(
            f"{files.directory} drafts only {rows} of the target's {target.vocab_size} tokens; "
            "block heads are read with the whole vocabulary only."
        )


def _medusa(files: _Files, target: LanguageModel) -> tuple[BlockModule, Tensors]:
    config = files.config
    if not config.get("original_lm_head"):
        raise UserError(
            f"{files.directory} has an output head for each slot; only Medusa heads that share the "
            "target's (original_lm_head) are read."
        )
    last = target.model.config.num_hidden_layers
    shape = _shape(files, target, (last,), config["num_heads"])
    tensors: Tensors = {}
    for name, value in files.tensors.items():
        if name.startswith("blocks."):
            _, slot, _, layer, part = name.split(".")
            tensors[f"stacks.{slot}.{layer}.{part}"] = value
    return MedusaModule(target.model.config, shape, config["num_hidden_layers"]), tensors


def _dflash(files: _Files, target: LanguageModel) -> tuple[BlockModule, Tensors]:
    _check_whole_vocabulary(files, target)
    config, own = files.config, files.config.get("dflash_config") or files.config
    layers = config.get("aux_hidden_state_layer_ids") or [
        layer + 1 for layer in own["target_layer_ids"]
    ]
    spark = files.kind == "dspark"
    if own.get("sample_from_anchor", config.get("sample_from_anchor", spark)) != spark:
        raise UserError(
            f"{files.directory}: a {files.kind} head with sample_from_anchor = {not spark} is not "
            "read."
        )
    shape = _shape(files, target, layers, config["block_size"] - (not spark))
    kept = ("embed_tokens.", "lm_head.", *_MAPS)
    tensors = _renamed({k: v for k, v in files.tensors.items() if not k.startswith(kept)}, _DFLASH)
    layer_config = Qwen3Config(**files.layers)
    if spark:
        rank = config["markov_rank"]
        return DSparkModule(target.model.config, shape, layer_config, rank), tensors
    return DFlashModule(target.model.config, shape, layer_config), tensors


def _p_eagle(files: _Files, target: LanguageModel) -> tuple[BlockModule, Tensors]:
    """Return the module and its tensors; embedding and output head may be trained too."""
    _check_whole_vocabulary(files, target)
    config = files.config
    size = config.get("block_size")
    if size is None:
        size = config["speculators_config"]["proposal_methods"][0]["speculative_tokens"]
    shape = _shape(files, target, config["eagle_aux_hidden_state_layer_ids"], size)
    own = copy.deepcopy(target.model.config)
    own.tie_word_embeddings = False  # the head has an embedding of its own
    module = PEagleModule(own, shape, files.layers["num_hidden_layers"])
    prefix = f"eagle.causal.{module.eagle.causal.base_model_prefix}."
    tensors: Tensors = {"mask_hidden": files.tensors["mask_hidden"].flatten()}
    for name, value in _renamed(files.tensors, _EAGLE).items():
        if name.startswith("layers."):
            tensors[prefix + name] = value
        elif name.startswith(("fc.", "norm.")):
            tensors["eagle." + name] = value
    embedding, output = (
        files.tensors.get(name, getattr(target.model, f"get_{end}_embeddings")().weight)
        for name, end in (("embed_tokens.weight", "input"), ("lm_head.weight", "output"))
    )
    module.output.weight[: len(output)] = output
    tensors |= {"embedding.weight": embedding, "mask_embedding": embedding[shape.mask_token]}
    return module, tensors | {"output.weight": module.output.weight.clone()}


def _renamed(tensors: Tensors, names: Mapping[str, str]) -> Tensors:
    renamed: Tensors = {}
    for name, value in tensors.items():
        for old, new in names.items():
            name = name.replace(old, new, 1) if name.startswith(old) else name
        renamed[name] = value
    return renamed


_READERS: Mapping[str, Callable[[_Files, LanguageModel], tuple[BlockModule, Tensors]]] = {
    "medusa": _medusa,
    "p_eagle": _p_eagle,
    "dflash": _dflash,
    "dspark": _dflash,
}
