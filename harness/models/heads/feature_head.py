"""Feature heads: one decoder layer between the target's embedding and output head.

EAGLE-1 (Li et al. 2024, arXiv 2401.15077) and EAGLE-3 (Li et al. 2025, arXiv 2503.01840). At slot
i the head reads the embedding of token i + 1 beside the feature at i, and returns the feature at
i + 1, from which the output head computes the distribution of token i + 2. Embedding and output
head are the target's, frozen; the layer has the target's architecture.

- `eagle`: the feature is the target's final state. `fc` joins it with the embedding (2 D to D);
  the layer has no norm before its attention, and no norm follows the layer.
- `eagle3`: `fc` fuses the outputs of several target layers into the feature (L D to D); the layer's
  attention reads the normed embedding beside the normed feature (2 D). A norm precedes the output
  head; the state before that norm is fed back. The output head may be cut to a draft vocabulary.
  EAGLE-3.1 (arXiv 2605.09992; vLLM's `llama_eagle3.py`) adds `fc_norm`, a norm of every target
  layer before `fc`, and `norm_output`: the state after the last norm is fed back.

- `mtp`: as `eagle`, with norms: of both inputs of `fc`, of the layer's attention, and after the
  layer. The state after the last norm is fed back (`mtp` of speculators 0.9.0; Qwen3-Next in vLLM).

Heads that other code trained may differ further (`models.heads.head_imports`): `norm_before_fc`
norms all target layers at once, `norm_before_residual` feeds the normed feature into the layer's
residual stream, `state_size` is the target's hidden size where it is not the head's own.

Legend: B batch, T slot, K slot in the cache, L layer, D hidden size, V vocabulary.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from draftmark.errors import UserError
from draftmark.models.attention import group_heads
from draftmark.models.heads.saved_head import (
    SavedHead,
    check_family,
    load_weights,
    norm_name,
    saved_shape,
)
from draftmark.models.language_model import LanguageModel
from draftmark.models.spread import weights_of
from draftmark.types import Placement

Architecture = Literal["eagle", "eagle3", "mtp"]


@dataclass(frozen=True)
class HeadShape:
    """The architecture of a head, besides the config of its layer."""

    kind: Architecture
    layers: tuple[int, ...]  # of the target, numbered as in `models.hidden_states`
    vocab_size: int  # the tokenizer's
    draft_vocab_size: int | None = None  # None: the whole vocabulary
    fc_norm: bool = False
    norm_output: bool = False
    norm_before_fc: bool = False
    norm_before_residual: bool = False
    fc_bias: bool = False
    state_size: int | None = None  # None: the head's hidden size
    own_embedding: bool = False  # False: the target's


class _Joined(torch.nn.Module):
    """The norms before EAGLE-3's attention; `embedding_BTD` is set before the layer runs.

    With `is_normed`, the layer receives features after their norm, which its residual stream keeps.
    """

    def __init__(self, norm: torch.nn.Module, is_normed: bool) -> None:
        super().__init__()
        self.embedding_norm = copy.deepcopy(norm)
        self.feature_norm = copy.deepcopy(norm)
        self.is_normed = is_normed
        self.embedding_BTD: torch.Tensor | None = None

    def forward(self, feature_BTD: torch.Tensor) -> torch.Tensor:
        assert self.embedding_BTD is not None
        normed_BTD = feature_BTD if self.is_normed else self.feature_norm(feature_BTD)
        return torch.cat((self.embedding_norm(self.embedding_BTD), normed_BTD), dim=-1)


class HeadModule(SavedHead):
    """The weights of a head: `fc`, and a one-layer model of the target's family."""

    shape: HeadShape
    draft_ids_V: torch.Tensor  # the ids of the draft vocabulary, if there is one

    def __init__(self, causal: Any, shape: HeadShape) -> None:
        super().__init__()
        self.config, self.shape, self.causal = causal.config, shape, causal
        width, base = self.config.hidden_size, causal.base_model
        layer, last = base.layers[0], norm_name(base)
        own_norm = getattr(base, last)
        setattr(base, last, torch.nn.Identity())
        self.norm: torch.nn.Module = own_norm
        self.fc_norm: torch.nn.ModuleList | None = None
        self.input_norm: torch.nn.Module | None = None
        if shape.kind == "eagle3":
            self._fuse_layers(layer, width)
        else:
            self.fc = torch.nn.Linear(2 * width, width, bias=shape.fc_bias)
        if shape.kind == "mtp":
            norms = [_norm_like(own_norm, width) for _ in ("embedding", "feature")]
            self.fc_norm = torch.nn.ModuleList(norms)
        if shape.kind == "eagle":
            self.norm = torch.nn.Identity()
            if hasattr(layer, "post_attention_layernorm"):  # Phi's MLP shares this norm
                layer.input_layernorm = torch.nn.Identity()
        if shape.draft_vocab_size:
            whole = causal.get_output_embeddings()
            cut = torch.nn.Linear(width, shape.draft_vocab_size, whole.bias is not None)
            causal.set_output_embeddings(cut)
            self.config.tie_word_embeddings = False
            self.register_buffer("draft_ids_V", torch.arange(shape.draft_vocab_size))
        for module in (causal.get_input_embeddings(), causal.get_output_embeddings()):
            module.requires_grad_(False)

    def _fuse_layers(self, layer: Any, width: int) -> None:
        """Make EAGLE-3's `fc` and its norms, and widen the layer."""
        shape = self.shape
        states, number = shape.state_size or width, len(shape.layers)
        self.fc = torch.nn.Linear(number * states, width, bias=shape.fc_bias)
        if shape.fc_norm:
            norms = [_norm_like(self.norm, states) for _ in range(number)]
            self.fc_norm = torch.nn.ModuleList(norms)
        if shape.norm_before_fc:
            self.input_norm = _norm_like(self.norm, number * states)
        layer.input_layernorm = _Joined(layer.input_layernorm, shape.norm_before_residual)
        _widen(layer, width)

    def join(self, embedding_BTD: torch.Tensor, feature_BTD: torch.Tensor) -> torch.Tensor:
        """Return the layer's input [B, T, D] of EAGLE-1 and MTP."""
        if self.fc_norm is not None:
            of_embedding, of_feature = self.fc_norm
            embedding_BTD, feature_BTD = of_embedding(embedding_BTD), of_feature(feature_BTD)
        joined_BTD: torch.Tensor = self.fc(torch.cat([embedding_BTD, feature_BTD], dim=-1))
        return joined_BTD

    @property
    def joined(self) -> _Joined | None:
        """EAGLE-3's norms of embedding and feature; None for the others."""
        norm = getattr(self.causal.base_model.layers[0], "input_layernorm", None)
        return norm if isinstance(norm, _Joined) else None

    def get_input_embeddings(self) -> Any:
        """Return the embedding."""
        return self.causal.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        """Return the output head."""
        return self.causal.get_output_embeddings()


def _norm_like(norm: Any, width: int) -> torch.nn.Module:
    """Return a new norm of `width`, of the class and epsilon of another."""
    eps = norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps
    made: torch.nn.Module = type(norm)(width, eps=eps)
    return made


def _widen(layer: Any, width: int) -> None:
    """Widen the attention's inputs to 2 D, and those of an MLP that shares its norm."""
    parts = [getattr(layer, "self_attn", None) or layer.attention]
    if not hasattr(layer, "post_attention_layernorm"):
        parts.append(layer.mlp)
    for part in parts:
        for name, linear in list(part.named_children()):
            outward = name in ("o_proj", "dense", "down_proj", "fc2")
            if isinstance(linear, torch.nn.Linear) and not outward:
                widened = torch.nn.Linear(2 * width, linear.out_features, linear.bias is not None)
                setattr(part, name, widened)


@dataclass(frozen=True)
class FeatureHead(LanguageModel):
    """A head as training, scoring and engines use it: features in, features and logits out."""

    model: HeadModule

    def hidden(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor | None = None) -> torch.Tensor:
        """Raise TypeError: a head needs the target's features."""
        raise TypeError("a feature head reads the target's features, not tokens alone")

    def fuse(self, states_TLD: torch.Tensor) -> torch.Tensor:
        """Return the feature [..., D] that the head reads, from target states [..., L, D]."""
        states_TLD = states_TLD.to(self.device, self.model.fc.weight.dtype)
        if self.model.shape.kind != "eagle3":
            return states_TLD[..., 0, :]
        if (norms := self.model.fc_norm) is not None:
            states_TLD = torch.stack(
                [norm(state) for norm, state in zip(norms, states_TLD.unbind(-2), strict=True)], -2
            )
        joined_TX = states_TLD.flatten(-2)
        if (norm := self.model.input_norm) is not None:
            joined_TX = norm(joined_TX)
        fused: torch.Tensor = self.model.fc(joined_TX)
        return fused

    def step(
        self,
        following_BT: torch.Tensor,
        features_BTD: torch.Tensor,
        positions_BT: torch.Tensor,
        mask_BTK: torch.Tensor,
        cache: Any,
    ) -> torch.Tensor:
        """Return the next features [B, T, D] of slots that read features_BTD and following_BT.

        mask_BTK is True where a slot may attend to one of the K slots in the cache, new ones
        included.
        """
        embedding_BTD = self.model.get_input_embeddings()(following_BT)
        inputs_BTD, joined = features_BTD, self.model.joined
        if joined is None:
            inputs_BTD = self.model.join(embedding_BTD, features_BTD)
        else:
            joined.embedding_BTD = embedding_BTD
            if joined.is_normed:
                inputs_BTD = joined.feature_norm(features_BTD)
        states: torch.Tensor = self.model.causal.base_model(
            inputs_embeds=inputs_BTD,
            attention_mask=mask_BTK[:, None],
            position_ids=positions_BT,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        if joined is not None:
            joined.embedding_BTD = None
        return self.model.norm(states) if self.model.shape.norm_output else states

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits [..., V] of features [..., D]; -inf outside the draft vocabulary."""
        shape = self.model.shape
        logits = super().logits(hidden if shape.norm_output else self.model.norm(hidden))
        if shape.draft_vocab_size is None:
            return logits
        full = logits.new_full((*logits.shape[:-1], self.vocab_size), -torch.inf)
        return full.index_copy(-1, self.model.draft_ids_V, logits)


def load_head(directory: Path, placement: Placement) -> FeatureHead:
    """Return the head saved in a folder, in evaluation mode; raises UserError if it is cut."""
    shape = HeadShape(**saved_shape(directory))
    config = AutoConfig.from_pretrained(directory, local_files_only=True)
    causal = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="sdpa"
    )
    module = load_weights(HeadModule(causal, shape), directory)
    group_heads(causal)
    module = module.to(placement.device, getattr(torch, placement.dtype)).eval()
    return FeatureHead(module, shape.vocab_size)


def make_head(
    target: LanguageModel,
    shape: HeadShape,
    *,
    seed: int,
    draft_ids: torch.Tensor | None = None,
    from_layer: int | None = None,
) -> FeatureHead:
    """Return an untrained float32 head for a target.

    The layer and `fc` are random; with `from_layer`, the layer starts as a copy of that target
    layer. `draft_ids` are the ids of the draft vocabulary, ascending. Raises UserError for an
    unsupported family, and for a layer that the target lacks.
    """
    check_family(target, "Feature heads")
    available = target.model.config.num_hidden_layers
    if from_layer is not None and from_layer >= available:
        raise UserError(f"from_layer = {from_layer}: the target has layers 0 to {available - 1}.")
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
    return type(model)._from_config(config, dtype=torch.float32, attn_implementation="sdpa")


@torch.no_grad()
def _take_ends(module: HeadModule, model: Any, draft_ids: torch.Tensor | None) -> None:
    """Copy the target's embedding, last norm and output head, cut to the draft vocabulary."""
    module.get_input_embeddings().load_state_dict(weights_of(model.get_input_embeddings()))
    output, head = weights_of(model.get_output_embeddings()), module.get_output_embeddings()
    if draft_ids is None:
        head.load_state_dict(output)
    else:
        module.draft_ids_V.copy_(draft_ids)
        rows = draft_ids.to(output["weight"].device)
        head.load_state_dict({name: value[rows] for name, value in output.items()})
    if module.shape.kind != "eagle":
        last = getattr(model.base_model, norm_name(model.base_model))
        module.norm.load_state_dict(weights_of(last))


@torch.no_grad()
def _take_layer(module: HeadModule, layer: Any) -> None:
    """Copy a target layer; weights that read 2 D receive it in the feature's columns."""
    sources = weights_of(layer)
    for name, value in module.causal.base_model.layers[0].state_dict().items():
        if (source := sources.get(name)) is None:
            continue
        if value.shape == source.shape:
            value.copy_(source)
        else:
            value[:, source.shape[1] :].copy_(source)
    if module.shape.kind == "eagle3":
        joined = module.causal.base_model.layers[0].input_layernorm
        for norm in (joined.embedding_norm, joined.feature_norm):
            norm.load_state_dict(weights_of(layer.input_layernorm))
