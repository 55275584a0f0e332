"""Makes a fresh feature head for a target: its ends are the target's, its layer is new.

Legend: D hidden size, V vocabulary.
"""

import copy
from typing import Any

import torch

from draftmark.errors import UserError
from draftmark.models.feature_head import FeatureHead, HeadModule, Shape, norm_name
from draftmark.models.language_model import LanguageModel

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gpt_neox", "phi")


def make_head(
    target: LanguageModel,
    shape: Shape,
    *,
    seed: int,
    draft_ids: torch.Tensor | None = None,
    from_layer: int | None = None,
) -> FeatureHead:
    """Return a fresh head for a target, in float32.

    The layer and `fc` are random, or the layer as far as it fits that of the target's number
    `from_layer`. `draft_ids` are the ids of the draft's own vocabulary, ascending. Raises UserError
    for a family that is not known to work.
    """
    family = target.model.config.model_type
    if family not in FAMILIES:
        raise UserError(
            f"Feature heads are made for {', '.join(FAMILIES)}, not {family!r}; choose another "
            "target, or a method whose draft is a language model."
        )
    available = target.model.config.num_hidden_layers
    if from_layer is not None and from_layer >= available:
        raise UserError(
            f"from_layer = {from_layer}: the target has layers 0 to {available - 1}; take one."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = HeadModule(_one_layer(target.model), shape)
    _take_ends(module, target.model, draft_ids)
    if from_layer is not None:
        _take_layer(module, target.model.base_model.layers[from_layer])
    return FeatureHead(module.to(target.device).eval(), target.vocab_size)


def _one_layer(model: Any) -> Any:
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = 1
    if getattr(config, "layer_types", None):
        config.layer_types = ["full_attention"]
    made = type(model)._from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    return made


@torch.no_grad()
def _take_ends(module: HeadModule, model: Any, draft_ids: torch.Tensor | None) -> None:
    """Copy the target's embedding, last norm and output head, cut to the draft's vocabulary."""
    module.get_input_embeddings().weight.copy_(model.get_input_embeddings().weight)
    output = model.get_output_embeddings()
    own = module.get_output_embeddings()
    if draft_ids is None:
        own.load_state_dict(output.state_dict())
    else:
        module.draft_ids_V.copy_(draft_ids)
        rows = draft_ids.to(output.weight.device)
        own.load_state_dict({name: value[rows] for name, value in output.state_dict().items()})
    if module.shape.kind == "eagle3":
        last = getattr(model.base_model, norm_name(model.base_model))
        module.norm.load_state_dict(last.state_dict())


@torch.no_grad()
def _take_layer(module: HeadModule, layer: Any) -> None:
    """Copy a layer of the target: where the head reads 2 D, into the half of the feature."""
    given = layer.state_dict()
    own = module.causal.base_model.layers[0].state_dict()
    for name, value in own.items():
        source = given.get(name)
        if source is None:
            continue
        if value.shape == source.shape:
            value.copy_(source)
        else:
            value[:, source.shape[1] :].copy_(source)
    if module.shape.kind == "eagle3":
        joined = module.causal.base_model.layers[0].input_layernorm
        for norm in (joined.embedding_norm, joined.feature_norm):
            norm.load_state_dict(layer.input_layernorm.state_dict())
