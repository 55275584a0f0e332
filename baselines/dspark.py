"""DSpark: DFlash's block, whose slots read the token before them (arXiv 2607.05147).

The layers are those of `dflash`, but the anchor is the first slot that predicts: slot k reads the
place of token k and predicts token k + 1. A Markov head of low rank adds W2 W1[x] to the logits U_k
of a slot, where x is the token drafted before, or the anchor. A confidence head estimates the
probability of acceptance, c = sigmoid(w [state, W1[x]]). With the text's token y, the target's p
and the draft's q, the loss of a slot is

    ce_weight (-log q(y)) + l1_weight sum |q - p| + confidence_weight BCE(c, 1 - sum |q - p| / 2)

without a gradient through the target of c. Published: 0.1, 0.9, 1.0, and weights exp(-k / gamma) by
slot, gamma 4 for a block of 7: `decay` is exp(-1 / gamma). Any other `loss` takes the place of the
first two terms. AdaSPEC's selection (`keep`) compares the loss without the confidence's.

Where codes differ: DeepSpec (deepseek-ai/DeepSpec at 67d7bdd) divides each term by the sum of its
weights, speculators 0.9 by the number of slots; speculators' `tv` is half of the L1 distance, and
its `ce` takes the target's likeliest token in place of y. Both report as accepted length 1 plus the
sum of products of 1 - TV, over all anchors alike; `block_efficiency` is over the starts of blocks.
With `confidence_threshold`, a block ends before the first slot whose confidence c is below it, as
by DeepSpec's option of that name. vLLM cuts blocks by its load (`enable_adaptive_verification`), so
a text alone does not decide what is drafted: that is refused.

Published recipe: Open-PerfectBlend answered by the target (`text = "target"`), 10 epochs, AdamW,
learning rate 6e-4, batches of 512, 5 layers, rank 256.
"""

# In short: DSpark: DFlash whose slots read the token before.
# Trains: a head.

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from draftmark.baselines._block_head import GAMMA_4, FusedBlockHead
from draftmark.baselines._head import Decay, NonNegative
from draftmark.baselines._token_losses import LossName, label_loss
from draftmark.speculation.methods import drafting_knob
from draftmark.types import Placement

if TYPE_CHECKING:
    from typing import Any

    import torch

    from draftmark.models.heads.block_head import BlockHead, BlockModule, BlockShape
    from draftmark.speculation.block_drafter import BlockDrafter
    from draftmark.training.batches import Batch
    from draftmark.training.loop import TokenLoss


@dataclass(frozen=True)
class DSpark(FusedBlockHead):
    """`rank`: rank of the Markov head.

    `confidence_threshold`: the least confidence of a drafted token; 0 cuts no block.
    """

    block_size: Annotated[int, Field(ge=1, le=32)] = 7
    loss: LossName | Literal["dspark"] = "dspark"  # type: ignore[assignment]
    decay: Decay = GAMMA_4
    rank: Annotated[int, Field(ge=1)] = 64
    ce_weight: NonNegative = 0.1
    l1_weight: NonNegative = 0.9
    confidence_weight: NonNegative = 1.0
    confidence_threshold: Annotated[float, Field(ge=0, le=1)] = drafting_knob(0.0)

    def module(self, config: "Any", shape: "BlockShape") -> "BlockModule":
        """Return random layers and heads."""
        from draftmark.models.heads.dflash_head import qwen3_config
        from draftmark.models.heads.dspark_head import DSparkModule

        return DSparkModule(config, shape, qwen3_config(config, self.num_layers), self.rank)

    def slot_loss(self, head: "BlockHead") -> "TokenLoss":
        """Return the loss of the tokens that a slot predicts, with that of their confidence."""
        token_loss = self._mixture if self.loss == "dspark" else self.token_loss()

        def loss(
            draft_NV: "torch.Tensor", target_NV: "torch.Tensor", batch: "Batch"
        ) -> "torch.Tensor":
            assert batch.states is not None
            loss_N = token_loss(draft_NV, target_NV, batch)
            if not draft_NV.requires_grad:  # measured for a selection
                return loss_N
            confidence_N = head.model.confidence_logits(batch.states[0])
            own_N = confidence_loss(confidence_N, draft_NV, target_NV)
            return loss_N + self.confidence_weight * own_N

        return loss

    def drafter(self, directory: Path, placement: Placement) -> "BlockDrafter":
        """Return the drafter of a saved head, which cuts blocks at the threshold."""
        return replace(super().drafter(directory, placement), threshold=self.confidence_threshold)

    def _mixture(
        self, draft_NV: "torch.Tensor", target_NV: "torch.Tensor", batch: "Batch"
    ) -> "torch.Tensor":
        from draftmark.training.divergences import tvd

        ce_N = label_loss(draft_NV, target_NV, batch)
        return self.ce_weight * ce_N + self.l1_weight * 2 * tvd(draft_NV, target_NV)


def confidence_loss(
    confidence_N: "torch.Tensor", draft_NV: "torch.Tensor", target_NV: "torch.Tensor"
) -> "torch.Tensor":
    """Return the binary cross-entropy [N] of confidences, as logits, to the overlap of q and p."""
    import torch

    from draftmark.training.divergences import expected_acceptance

    overlap_N = expected_acceptance(draft_NV.detach(), target_NV).clamp(0, 1)
    return torch.nn.functional.binary_cross_entropy_with_logits(
        confidence_N.float(), overlap_N, reduction="none"
    )


METHOD = DSpark
