"""The weights of Domino (2605.29707): DFlash's layers, a GRU over the block, a low-rank correction.

A GRU reads the embeddings of the anchor and of the tokens drafted so far. With z_k the state of
slot k and s_k the GRU's state after the token before its own, slot k has the logits U_k + W2
SiLU(W1 [z_k; s_k]). The first slots of a block may keep U_k: they are drafted without the GRU.

Legend: A anchor, K slot of a block, D hidden size, G size of the GRU, E rank of the correction,
V vocabulary.
"""

from typing import Any, ClassVar, cast

import torch
from torch.nn import GRU, Linear, Sequential, SiLU
from transformers import Qwen3Config

from draftmark.models.heads.block_head import BlockShape
from draftmark.models.heads.dflash_head import DFlashModule


class DominoModule(DFlashModule):
    """A joined state is [z, SiLU(W1 [z; s])], with zeros for the `uncorrected` first slots."""

    sequential: ClassVar[bool] = True

    def __init__(
        self,
        config: Any,
        shape: BlockShape,
        layer_config: Qwen3Config,
        rank: int,
        gru_size: int,
        uncorrected: int,
    ) -> None:
        super().__init__(config, shape, layer_config, anchor_predicts=True)
        width = config.hidden_size
        self.joined_width, self.uncorrected = rank, uncorrected
        self.prefix_gru = GRU(width, gru_size, bias=False, batch_first=True)
        inner = Linear(width + gru_size, rank, bias=False)
        outer = Linear(rank, config.vocab_size, bias=False)
        self.embed_proj = Sequential(inner, SiLU(), outer)
        for linear in (inner, outer):
            torch.nn.init.normal_(linear.weight, std=config.initializer_range)

    def join(self, states_AKD: torch.Tensor, previous_AK: torch.Tensor) -> torch.Tensor:
        """Return [z, SiLU(W1 [z; s])]; the GRU reads all tokens of the block before a slot."""
        read_AKG = self.prefix_gru(self.get_input_embeddings()(previous_AK))[0]
        inner_AKE = self.embed_proj[:2](torch.cat([states_AKD, read_AKG], dim=-1))
        corrected_K = (
            torch.arange(states_AKD.shape[1], device=states_AKD.device) >= self.uncorrected
        )
        return torch.cat([states_AKD, inner_AKE * corrected_K[:, None]], dim=-1)

    def bias(self, joined: torch.Tensor) -> torch.Tensor:
        """Return the correction [..., V] of the logits."""
        return cast(torch.Tensor, self.embed_proj[2](joined))
