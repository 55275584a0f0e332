"""Domino: DFlash's block, whose logits a GRU over the block corrects (arXiv 2605.29707).

The layers are those of `dflash`, and slot k reads the place of token k and predicts token k + 1, as
in `dspark`. The layers alone give the base logits U_k of all slots at once. A GRU then reads the
embeddings of the anchor and of the tokens drafted so far. With z_k the state of slot k, s_k the
GRU's state and the text's token y, the logits and the loss of a slot are

    U_k + W2 SiLU(W1 [z_k; s_k])
    (1 - b) loss(corrected logits) + b loss(base logits)

Both losses are the cross-entropy of y, or another `loss`, with weight `decay`^k by slot. The share
b falls linearly from `base_share` to 0 while the share `base_until` of the training passes: the
layers learn first, the correction after them. The first `uncorrected` slots keep their base logits.
AdaSPEC's selection (`keep`) compares the loss of the corrected logits.
A checkpoint is chosen by first drafted tokens, as for all methods: with `uncorrected` above 0 that
measure, and so `training.patience`, sees the layers alone.

Where codes differ, this is SpecForge 0.2 (`DominoDraftModel`, `OnlineDominoModel`, pinned in the
tests) with the published `shift_label`: without it a slot predicts the token at its own place, as
in `dflash`. SpecForge divides both losses by the sum of weights: a constant factor. Its share of
training for `base_until` is 0.5 unless set; the published recipe has 1. Its anchors are tokens of
the response, and here the first is the prompt's last token, from which drafting starts.

Published recipe (Qwen3-8B): 5 layers, blocks of 16, rank 256, GRU of 1024, one uncorrected slot,
weights exp(-k / 7), 256 anchors, 6 epochs, AdamW, learning rate 6e-4, clip 1.0, 4 % of warm-up.
vLLM 0.32 has no Domino. Code: https://github.com/jianuo-huang/Domino.
"""

# In short: Domino: DFlash with a GRU over its block.
# Trains: a head.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from draftmark.baselines._block_head import GAMMA_4, FusedBlockHead
from draftmark.baselines._head import Decay, Share

if TYPE_CHECKING:
    from typing import Any

    import torch

    from draftmark.models.heads.block_head import BlockHead, BlockModule, BlockShape
    from draftmark.training.batches import Batch
    from draftmark.training.loop import TokenLoss


@dataclass(frozen=True)
class Domino(FusedBlockHead):
    """`rank`: rank of the correction; `gru_size`: width of the GRU's state.

    `uncorrected`: the number of first slots without a correction. `base_share`, `base_until`: the
    share of the base logits in the loss at the start, and when it has fallen to 0.
    """

    block_size: Annotated[int, Field(ge=1, le=32)] = 7
    decay: Decay = GAMMA_4
    rank: Annotated[int, Field(ge=1)] = 64
    gru_size: Annotated[int, Field(ge=1)] = 256
    uncorrected: Annotated[int, Field(ge=0)] = 1
    base_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    base_until: Share = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for knobs that exclude each other."""
        super().__post_init__()
        if self.uncorrected >= self.block_size:
            raise ValueError(
                f"uncorrected = {self.uncorrected} leaves no slot of {self.block_size} to correct"
            )

    def module(self, config: "Any", shape: "BlockShape") -> "BlockModule":
        """Return random layers and heads."""
        from draftmark.models.heads.dflash_head import qwen3_config
        from draftmark.models.heads.domino_head import DominoModule

        layer_config = qwen3_config(config, self.num_layers)
        return DominoModule(config, shape, layer_config, self.rank, self.gru_size, self.uncorrected)

    def slot_loss(self, head: "BlockHead") -> "TokenLoss":
        """Return the loss of the corrected logits of a slot, mixed with that of its base logits."""
        loss = self.token_loss()

        def mixed(
            draft_NV: "torch.Tensor", target_NV: "torch.Tensor", batch: "Batch"
        ) -> "torch.Tensor":
            loss_N, base = loss(draft_NV, target_NV, batch), self.base_share_at(batch.done)
            if base == 0 or not draft_NV.requires_grad:  # measured for a selection
                return loss_N
            assert batch.states is not None
            # The output head, most of the cost, is not read again.
            correction_NV = head.model.bias(batch.states[0][:, head.hidden_size :])
            base_NV = draft_NV - correction_NV[:, : draft_NV.shape[1]]
            return (1 - base) * loss_N + base * loss(base_NV, target_NV, batch)

        return mixed

    def base_share_at(self, done: float) -> float:
        """Return the share of the base logits' loss after the share `done` of the training."""
        return self.base_share * max(0.0, 1 - done / self.base_until)


METHOD = Domino
