"""The weights of DFlash (2602.06036): a block diffusion draft, conditioned on target states.

The layers are Qwen3's. A block is the anchor's embedding and then the mask token's, and its slots
see each other in both directions. RMSNorm(fc(target states)) of the tokens before the anchor give
keys and values to every layer, by the same projections as the slots.

Legend: T slot of the context, L layer, D hidden size, A anchor, S slot of a block with the anchor,
K slot that predicts, H head of queries, G head of keys, N queries of a group, E size of a head.
"""

import copy
import math
from typing import Any, cast

import torch
from torch.nn import Linear, ModuleList
from transformers import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import (
    Qwen3MLP,
    Qwen3RMSNorm,
    Qwen3RotaryEmbedding,
    rotate_half,
)

from draftmark.models.heads.block_head import BlockContext, BlockModule, BlockShape, last_norm
from draftmark.models.spread import weights_of

Rotation = tuple[torch.Tensor, torch.Tensor]  # cosines and sines [..., E]


class DFlashModule(BlockModule):
    """`anchor_predicts`: slot 0, at the anchor, predicts the next token, as in DSpark.

    Otherwise a slot predicts the token at its own place, so a block has a slot more than it drafts.
    """

    def __init__(
        self,
        config: Any,
        shape: BlockShape,
        layer_config: Qwen3Config,
        anchor_predicts: bool = False,
    ) -> None:
        super().__init__(config, shape)
        self.layer_config = layer_config
        num_layers = layer_config.num_hidden_layers
        width, eps = config.hidden_size, self.layer_config.rms_norm_eps
        self.anchor_predicts = anchor_predicts
        self.fc = Linear(len(shape.layers) * width, width, bias=False)
        self.hidden_norm = Qwen3RMSNorm(width, eps=eps)
        self.layers = ModuleList(_Layer(self.layer_config) for _ in range(num_layers))
        self.norm = Qwen3RMSNorm(width, eps=eps)
        self.rotary = Qwen3RotaryEmbedding(self.layer_config)
        for linear in (self.fc, *self.layers.modules()):
            if isinstance(linear, Linear):
                torch.nn.init.normal_(linear.weight, std=config.initializer_range)

    def take(self, target: Any) -> None:
        """Take the ends, and the scale of the target's last norm."""
        super().take(target)
        self.norm.weight.copy_(weights_of(last_norm(target))["weight"])

    def fuse(self, states_TLD: torch.Tensor) -> torch.Tensor:
        """Return the features from which every layer takes keys and values."""
        return cast(torch.Tensor, self.hidden_norm(self.fc(states_TLD.flatten(-2))))

    def extend(
        self, context: BlockContext, following_T: torch.Tensor, features_TD: torch.Tensor
    ) -> None:
        """Add the keys and values of new slots to the cache of every layer."""
        new = len(features_TD)
        places_T = torch.arange(context.slots, context.slots + new, device=features_TD.device)
        turned = self._rotation(places_T)
        for index, layer in enumerate(self.layers):
            keys, values = _attention(layer).keys_values(features_TD, turned)
            context.cache.update(_as_batch(keys), _as_batch(values), index)
        context.slots += new

    def blocks(
        self,
        context: BlockContext,
        ids_A: torch.Tensor,
        anchors_A: torch.Tensor,
        drawn_AK: torch.Tensor,
    ) -> torch.Tensor:
        """Return the states [A, K, D] of all slots; none can be left out."""
        slots = self.shape.block_size + (not self.anchor_predicts)
        masked_AS = ids_A.new_full((len(ids_A), slots - 1), self.shape.mask_token)
        states_ASD = self.get_input_embeddings()(torch.cat([ids_A[:, None], masked_AS], dim=1))
        places_AS = anchors_A[:, None] + torch.arange(slots, device=anchors_A.device)
        turned = self._rotation(places_AS)
        hidden_AT = torch.arange(context.slots, device=anchors_A.device) >= anchors_A[:, None]
        for layer, cached in zip(self.layers, context.cache.layers, strict=True):
            states_ASD = layer(states_ASD, turned, cached, hidden_AT)
        return cast(torch.Tensor, self.norm(states_ASD))[:, slots - self.shape.block_size :]

    def _rotation(self, places: torch.Tensor) -> Rotation:
        weight = self.fc.weight
        flat = places.reshape(1, -1)
        return tuple(each.view(*places.shape, -1) for each in self.rotary(weight, flat))


class _Layer(torch.nn.Module):
    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.self_attn = _Attention(config)
        self.mlp = Qwen3MLP(config)
        self.input_layernorm = Qwen3RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = Qwen3RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(
        self, states_ASD: torch.Tensor, turned: Rotation, cached: Any, hidden_AT: torch.Tensor
    ) -> torch.Tensor:
        normed_ASD = self.input_layernorm(states_ASD)
        states_ASD = states_ASD + self.self_attn(normed_ASD, turned, cached, hidden_AT)
        mixed: torch.Tensor = self.mlp(self.post_attention_layernorm(states_ASD))
        return states_ASD + mixed


class _Attention(torch.nn.Module):
    """Attention of a block to its own slots and to the context before its anchor."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        width, size, eps = config.hidden_size, config.head_dim, config.rms_norm_eps
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.q_proj = Linear(width, self.heads * size, bias=False)
        self.k_proj = Linear(width, self.groups * size, bias=False)
        self.v_proj = Linear(width, self.groups * size, bias=False)
        self.o_proj = Linear(self.heads * size, width, bias=False)
        self.q_norm, self.k_norm = Qwen3RMSNorm(size, eps=eps), Qwen3RMSNorm(size, eps=eps)

    def keys_values(
        self, states: torch.Tensor, turned: Rotation
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values [..., G, E] of states [..., D]."""
        keys, values = (_split(proj(states), self.groups) for proj in (self.k_proj, self.v_proj))
        return _turn(self.k_norm(keys), turned), values

    def forward(
        self, states_ASD: torch.Tensor, turned: Rotation, cached: Any, hidden_AT: torch.Tensor
    ) -> torch.Tensor:
        queries_ASHE = _turn(self.q_norm(_split(self.q_proj(states_ASD), self.heads)), turned)
        grouped_ASGNE = _split(queries_ASHE, self.groups, -2)
        queries_AGNSE = grouped_ASGNE.permute(0, 2, 3, 1, 4)
        own_keys, own_values = self.keys_values(states_ASD, turned)
        own_AGNST = torch.einsum("agnse,atge->agnst", queries_AGNSE, own_keys)
        context_AGNST = torch.einsum("agnse,gte->agnst", queries_AGNSE, cached.keys[0])
        context_AGNST = context_AGNST.masked_fill(hidden_AT[:, None, None, None], -math.inf)
        scores = torch.cat([context_AGNST, own_AGNST], dim=-1) / math.sqrt(queries_ASHE.shape[-1])
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)
        context, own = weights.tensor_split([hidden_AT.shape[1]], dim=-1)
        mixed_AGNSE = torch.einsum("agnst,gte->agnse", context, cached.values[0])
        mixed_AGNSE = mixed_AGNSE + torch.einsum("agnst,atge->agnse", own, own_values)
        output: torch.Tensor = self.o_proj(mixed_AGNSE.permute(0, 3, 1, 2, 4).flatten(2))
        return output


def _split(states: torch.Tensor, parts: int, dim: int = -1) -> torch.Tensor:
    """Return states whose dimension `dim` is split into a number of parts."""
    split = states.unflatten(dim, (parts, -1))  # type: ignore[no-untyped-call]
    return cast(torch.Tensor, split)


def _attention(layer: torch.nn.Module) -> _Attention:
    return cast(_Attention, layer.self_attn)


def _turn(states: torch.Tensor, turned: Rotation) -> torch.Tensor:
    """Return states [..., H, E] turned by the angles of their places."""
    cosines, sines = (each[..., None, :] for each in turned)
    return states * cosines + cast(torch.Tensor, rotate_half(states)) * sines


def _as_batch(states_TGE: torch.Tensor) -> torch.Tensor:
    """Return states as a cache holds them, [1, G, T, E]."""
    return states_TGE.transpose(0, 1)[None]


def qwen3_config(config: Any, num_layers: int) -> Qwen3Config:
    """Return the config of Qwen3 layers of the target's sizes and rotary base."""
    heads = config.num_attention_heads
    rope = copy.deepcopy(getattr(config, "rope_parameters", None)) or {"rope_theta": 10000.0}
    rope = {"rope_type": "default", **rope}
    rope.pop("partial_rotary_factor", None)  # Qwen3 turns whole heads
    return Qwen3Config(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=num_layers,
        num_attention_heads=heads,
        num_key_value_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        rms_norm_eps=getattr(config, "rms_norm_eps", 1e-6),
        max_position_embeddings=config.max_position_embeddings,
        rope_parameters=rope,
        tie_word_embeddings=config.tie_word_embeddings,
        attention_bias=False,
    )
