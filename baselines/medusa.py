"""Medusa: residual-block heads, one for each later token (Cai et al. 2024, arXiv 2401.10774).

Head k maps the target's last state h to h + SiLU(W_k h), from which the output head computes the
distribution of the token k + 1 places ahead. A head reads neither the last token of the text nor
what the other heads propose. The loss is the cross-entropy of the text's token, with weight decay^k
for head k (paper: 0.8).

Deviations: the output head is the target's, frozen and shared by all heads (vLLM's
`original_lm_head`); the paper trains a copy for each head, which for a small target is most of its
weights. Draft tokens are verified by the lossless rule, not by typical acceptance, and drafted as a
chain, not as a tree. The code weighs all heads alike (FasterDecoding/Medusa, `train_legacy.py`).

Published recipe (Medusa-1): ShareGPT, 2 epochs, learning rate 1e-3, cosine, AdamW, 5 heads of one
layer.
"""

# In short: Medusa: a residual-block head for each later token.
# Trains: a head.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from draftmark.baselines._block_head import BlockHeadMethod
from draftmark.baselines._head import Decay

if TYPE_CHECKING:
    from typing import Any

    from draftmark.models.heads.block_head import BlockModule, BlockShape


@dataclass(frozen=True)
class Medusa(BlockHeadMethod):
    """`num_layers`: residual blocks of each head; `block_size`: the number of heads."""

    block_size: Annotated[int, Field(ge=1, le=32)] = 5
    decay: Decay = 0.8
    num_layers: Annotated[int, Field(ge=1)] = 1

    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return the last layer, whose hidden state the heads read."""
        return (num_layers,)

    def module(self, config: "Any", shape: "BlockShape") -> "BlockModule":
        """Return heads that pass the target's state on."""
        from draftmark.models.heads.medusa_head import MedusaModule

        return MedusaModule(config, shape, self.num_layers)


METHOD = Medusa
