"""The weights of P-EAGLE (2602.01469): an EAGLE-3 head that reads masked slots.

Slot i of the context reads the fused feature of token i and token i + 1, as EAGLE-3 does. The slots
of a block that follow have neither: each reads a learned hidden state and a learned embedding. A
slot sees the context and the slots of its own block before it.

Legend: T slot of the context, L layer, D hidden size, A anchor, K slot of a block, M masked slot,
S slot in the cache.
"""

import copy
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from draftmark.models.attention import group_heads
from draftmark.models.heads.block_head import BlockContext, BlockModule, BlockShape, last_norm
from draftmark.models.heads.feature_head import HeadModule, HeadShape
from draftmark.models.spread import weights_of


class PEagleModule(BlockModule):
    """`mask_hidden` [L D] and `mask_embedding` [D] stand for the unknown feature and token."""

    def __init__(self, config: Any, shape: BlockShape, num_layers: int) -> None:
        super().__init__(config, shape)
        causal = _layers_alone(config, num_layers)
        self.eagle = HeadModule(causal, HeadShape("eagle3", shape.layers, shape.vocab_size))
        group_heads(causal)
        causal.set_input_embeddings(self.embedding)
        causal.set_output_embeddings(self.output)
        self.mask_hidden = torch.nn.Parameter(torch.randn(len(shape.layers) * config.hidden_size))
        self.mask_embedding = torch.nn.Parameter(torch.zeros(config.hidden_size))

    def take(self, target: Any) -> None:
        """Take the ends, the last norm, and the embedding of the mask token."""
        super().take(target)
        self.eagle.norm.load_state_dict(weights_of(last_norm(target)))
        self.mask_embedding.copy_(self.embedding.weight[self.shape.mask_token])

    def fuse(self, states_TLD: torch.Tensor) -> torch.Tensor:
        """Return the fused features."""
        fused: torch.Tensor = self.eagle.fc(states_TLD.flatten(-2))
        return fused

    def extend(
        self, context: BlockContext, following_T: torch.Tensor, features_TD: torch.Tensor
    ) -> None:
        """Read new slots, each of which sees itself and all before it; keep their states."""
        new_T = torch.arange(len(features_TD), device=features_TD.device) + context.slots
        slots_S = torch.arange(context.slots + len(new_T), device=new_T.device)
        embedding_TD = self.get_input_embeddings()(following_T)
        visible_TS = slots_S <= new_T[:, None]
        context.append(self._read(embedding_TD, features_TD, new_T, visible_TS, context))

    def blocks(
        self,
        context: BlockContext,
        ids_A: torch.Tensor,
        anchors_A: torch.Tensor,
        drawn_AK: torch.Tensor,
    ) -> torch.Tensor:
        """Return the states [A, K, D]: of the slot before the anchor, then of the masked slots."""
        first_AD = context.at(anchors_A - 1)
        block_M, number_M = torch.nonzero(drawn_AK[:, 1:], as_tuple=True)
        masked_AKD = first_AD.new_zeros((*drawn_AK[:, 1:].shape, first_AD.shape[1]))
        if len(block_M):
            masked_MD = self._masked(context, anchors_A[block_M], block_M, number_M)
            masked_AKD = masked_AKD.index_put((block_M, number_M), masked_MD)
        states_AKD: torch.Tensor = self.eagle.norm(torch.cat([first_AD[:, None], masked_AKD], 1))
        return states_AKD

    def _masked(
        self,
        context: BlockContext,
        anchors_M: torch.Tensor,
        block_M: torch.Tensor,
        number_M: torch.Tensor,
    ) -> torch.Tensor:
        """Return the states [M, D] of masked slots, numbered in their block from 0."""
        slots_T = torch.arange(context.slots, device=anchors_M.device)
        own_MM = (block_M[:, None] == block_M) & (number_M[:, None] >= number_M)
        visible_MS = torch.cat([slots_T < anchors_M[:, None], own_MM], dim=1)
        count = len(block_M)
        embedding_MD = self.mask_embedding.expand(count, -1)
        feature_MD = self.eagle.fc(self.mask_hidden).expand(count, -1)
        places_M = anchors_M + number_M
        states_MD = self._read(embedding_MD, feature_MD, places_M, visible_MS, context)
        context.cache.crop(-count)
        return states_MD

    def _read(
        self,
        embedding_TD: torch.Tensor,
        features_TD: torch.Tensor,
        places_T: torch.Tensor,
        visible_TS: torch.Tensor,
        context: BlockContext,
    ) -> torch.Tensor:
        """Return the layers' outputs [T, D] of new slots at the end of the cache."""
        joined = self.eagle.joined
        assert joined is not None
        joined.embedding_BTD = embedding_TD[None]
        states_TD: torch.Tensor = self.eagle.causal.base_model(
            inputs_embeds=features_TD[None],
            attention_mask=visible_TS[None, None],
            position_ids=places_T[None],
            past_key_values=context.cache,
            use_cache=True,
        ).last_hidden_state[0]
        joined.embedding_BTD = None
        return states_TD


def _layers_alone(config: Any, num_layers: int) -> Any:
    """Return a random model of the target's family with that many layers of full attention."""
    config = copy.deepcopy(config)
    config.num_hidden_layers = num_layers
    if getattr(config, "layer_types", None):
        config.layer_types = ["full_attention"] * num_layers
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
