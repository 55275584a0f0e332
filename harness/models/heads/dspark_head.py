"""The weights of DSpark (2607.05147): DFlash's layers, a Markov head and a confidence head.

Slot k of a block has the logits U_k + W2 W1[x], where x is the token before its own: the anchor at
slot 0, then the token drafted at slot k - 1. The confidence of a slot, sigmoid(w [state, W1[x]]),
estimates the probability that its token is accepted.

Legend: A anchor, K slot of a block, D hidden size, E rank, X = D + E, V vocabulary.
"""

from typing import Any, ClassVar, cast

import torch
from transformers import Qwen3Config

from draftmark.models.heads.block_head import BlockShape
from draftmark.models.heads.dflash_head import DFlashModule


class DSparkModule(DFlashModule):
    """A joined state is [state, W1[x]]: the embedding of the token before it is appended."""

    sequential: ClassVar[bool] = True

    def __init__(
        self, config: Any, shape: BlockShape, layer_config: Qwen3Config, rank: int
    ) -> None:
        super().__init__(config, shape, layer_config, anchor_predicts=True)
        self.joined_width = rank
        self.markov_w1 = torch.nn.Embedding(config.vocab_size, rank)
        self.markov_w2 = torch.nn.Linear(rank, config.vocab_size, bias=False)
        self.confidence = torch.nn.Linear(config.hidden_size + rank, 1)
        torch.nn.init.normal_(self.markov_w1.weight, std=0.01)

    def join(self, states_AKD: torch.Tensor, previous_AK: torch.Tensor) -> torch.Tensor:
        """Return [states, W1[previous tokens]]."""
        return torch.cat([states_AKD, self.markov_w1(previous_AK)], dim=-1)

    def bias(self, joined: torch.Tensor) -> torch.Tensor:
        """Return W2 of the embeddings of the tokens before."""
        return cast(torch.Tensor, self.markov_w2(joined))

    def confidence_logits(self, joined: torch.Tensor) -> torch.Tensor:
        """Return the logits [...] of the confidence of joined states [..., X]."""
        return cast(torch.Tensor, self.confidence(joined))[..., 0]
