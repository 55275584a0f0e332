"""Reads trained block heads of other code, in the layouts of `models.heads.block_layouts`.

Embedding and output head are the target's. Only P-EAGLE's file may have its own, because its
trainers train them; a file of another kind must repeat the target's or leave them out.

Weights are read as float32 from safetensors. Legend: V vocabulary.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, Qwen3Config

from draftmark.errors import UserError
from draftmark.models.heads.block_head import BlockHead, BlockModule, BlockShape
from draftmark.models.heads.block_layouts import BlockFacts, TrainedHead, read_trained_head
from draftmark.models.heads.dflash_head import DFlashModule
from draftmark.models.heads.domino_head import DominoModule
from draftmark.models.heads.dspark_head import DSparkModule
from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_imports import check_head, read_head
from draftmark.models.heads.medusa_head import MedusaModule
from draftmark.models.heads.p_eagle_head import PEagleModule
from draftmark.models.language_model import LanguageModel
from draftmark.models.loading import check_whole, explain_loading
from draftmark.models.weights import weight_files

Tensors = dict[str, torch.Tensor]
_ENDS = {"embed_tokens.weight": "embedding.weight", "lm_head.weight": "output.weight"}
_DFLASH = {
    "logit_head.": "",  # of SpecForge's early files
    "markov_head.markov_w": "markov_w",
    "confidence_head.proj.": "confidence.",
}
_P_EAGLE = {
    "midlayer.": "layers.0.",
    "layers.0.input_layernorm.": "layers.0.input_layernorm.embedding_norm.",
    "layers.0.hidden_norm.": "layers.0.input_layernorm.feature_norm.",
    "fc.": "eagle.fc.",
    "norm.": "eagle.norm.",
    "layers.": "eagle.causal.model.layers.",
}
_MAPS = ("d2t", "t2d")  # between a draft's vocabulary and the target's, which are the same here


def read_any_head(
    directory: Path, target: LanguageModel, reference: str
) -> FeatureHead | BlockHead:
    """Return the trained head in a folder; raises UserError as the reader of its kind does."""
    facts = read_trained_head(directory, reference)
    if isinstance(facts, BlockFacts):
        return read_block_head(directory, target, reference)
    return read_head(directory, target, reference)


def check_any_head(directory: Path, reference: str, config: Any, vocab_size: int) -> TrainedHead:
    """Return the facts of a trained head; raises UserError if a target's config does not fit it.

    `vocab_size` is the tokenizer's. Every tensor's shape is checked; no module is made in memory.
    """
    facts = read_trained_head(directory, reference)
    if not isinstance(facts, BlockFacts):
        return check_head(directory, reference, config, vocab_size)
    shape = _shape(facts, config, vocab_size, biased=False)
    with torch.device("meta"):
        module = build_module(facts, config, shape)
    _check(directory, module, _named(directory, facts))
    return facts


def read_block_head(directory: Path, target: LanguageModel, reference: str = "") -> BlockHead:
    """Return the float32 block head in a folder, on the target's device, in evaluation mode.

    Raises UserError if the head was not made for the target, or if a tensor is missing, has another
    shape or belongs to no part of the head.
    """
    facts = read_trained_head(directory, reference or str(directory))
    if not isinstance(facts, BlockFacts):
        raise UserError(f"{directory} holds a head of {facts.kind}, which is no block head.")
    config, biased = target.model.config, target.model.get_output_embeddings().bias is not None
    with torch.random.fork_rng(devices=[]):
        module = build_module(facts, config, _shape(facts, config, target.vocab_size, biased))
    tensors = _named(directory, facts)
    _check(directory, module, tensors)
    with torch.no_grad():
        module.take(target.model)
        _take_ends(directory, module, tensors)
        module.load_state_dict(tensors, strict=False)
        if isinstance(module, PEagleModule):
            embedding_VD = module.embedding.weight
            module.mask_embedding.copy_(embedding_VD[facts.mask_token])
    return BlockHead(module.to(target.device).eval(), target.vocab_size)


def build_module(facts: BlockFacts, config: Any, shape: BlockShape) -> BlockModule:
    """Return random weights of a head; `config` is its target's, and for P-EAGLE's its own too."""
    match facts.kind:
        case "medusa":
            return MedusaModule(config, shape, facts.num_layers)
        case "dflash":
            return DFlashModule(config, shape, Qwen3Config(**facts.layer))
        case "dspark":
            return DSparkModule(config, shape, Qwen3Config(**facts.layer), facts.rank)
        case "domino":
            correction = (facts.rank, facts.gru_size, facts.uncorrected)
            return DominoModule(config, shape, Qwen3Config(**facts.layer), *correction)
    values = {**facts.layer, "tie_word_embeddings": False}
    own = AutoConfig.for_model(values.pop("model_type"), **values)
    return PEagleModule(own, shape, facts.num_layers)


def _shape(facts: BlockFacts, config: Any, vocab_size: int, biased: bool) -> BlockShape:
    """Return the head's shape; raises UserError unless the target has its width and vocabulary."""
    for what, own, theirs in (
        ("hidden size", facts.width, config.hidden_size),
        ("vocabulary", facts.vocab_size, config.vocab_size),
    ):
        if own != theirs:
            raise UserError(
                f"{facts.reference} is for a target with {what} {own}, and this target has "
                f"{theirs}: it is a head of another model."
            )
    if facts.mask_token >= config.vocab_size:
        raise UserError(f"{facts.reference}: mask_token_id {facts.mask_token} is no token.")
    layers = facts.layers_of(config.num_hidden_layers)
    return BlockShape(layers, vocab_size, facts.block_size, facts.mask_token, biased)


def _named(directory: Path, facts: BlockFacts) -> Tensors:
    """Return the file's tensors by the names of a BlockModule; floats are float32."""
    names = [path.name for path in directory.iterdir()]
    tensors: Tensors = {}
    with explain_loading(directory):
        for file in weight_files(directory, names, head=True):
            tensors |= load_file(directory / file)
    return {
        _own_name(name, facts): _plain(name, value).float()
        for name, value in tensors.items()
        if name not in _MAPS
    }


def _plain(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor as the modules hold it; P-EAGLE's masked state is [1, 1, L D] in files."""
    return tensor.flatten() if name == "mask_hidden" else tensor


def _own_name(name: str, facts: BlockFacts) -> str:
    """Return the name in a BlockModule of a tensor in a file; an unknown name stays."""
    if facts.kind == "medusa" and name.startswith("blocks."):
        return name.replace("blocks.", "stacks.", 1).replace("layers.", "", 1)
    for old, new in (_P_EAGLE if facts.kind == "p_eagle" else _DFLASH).items():
        name = new + name.removeprefix(old) if name.startswith(old) else name
    return _ENDS.get(name, name)


def _take_ends(directory: Path, module: BlockModule, tensors: Tensors) -> None:
    """Load the file's embedding and output head, of which padding rows may be missing.

    Raises UserError if they are not the target's, except in P-EAGLE's files.
    """
    for end in (module.embedding, module.output):
        name = "embedding.weight" if end is module.embedding else "output.weight"
        if (own_VD := tensors.pop(name, None)) is None:
            continue
        theirs_VD = end.weight[: len(own_VD)].float()
        own_VD = own_VD.to(theirs_VD.device)
        if isinstance(module, PEagleModule):
            theirs_VD = end.weight.clone()
            theirs_VD[: len(own_VD)] = own_VD
            end.weight.copy_(theirs_VD)
        elif not torch.equal(theirs_VD, own_VD):
            raise UserError(
                f"{directory} has {name} of its own, and only heads with their target's are read."
            )


def _check(directory: Path, module: BlockModule, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise UserError unless the tensors are the module's own weights, by name and shape."""
    ends = {"embedding.weight", "output.weight", "output.bias", "mask_embedding"}
    tied = {name for name in module.state_dict() if name.startswith("eagle.causal.")}
    tied -= {name for name in tied if ".layers." in name}
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    wanted = {name: shape for name, shape in wanted.items() if name not in ends | tied}
    found = {name: tuple(value.shape) for name, value in tensors.items() if name not in ends}
    check_whole(
        directory,
        list(wanted),
        wanted.keys() - found.keys(),
        found.keys() - wanted.keys(),
        {
            name: [found[name], wanted[name]]
            for name in wanted.keys() & found.keys()
            if found[name] != wanted[name]
        },
    )
