"""DFlash: block diffusion drafting in one pass (arXiv 2602.06036).

A few decoder layers read the anchor, the last token of the text, and mask tokens after it. The
slots of a block see each other in both directions. The target's states before the anchor, from
several layers, are fused to RMSNorm(W [h1; ...; hm]) and give keys and values to every layer. Each
masked slot predicts the token at its own place. The loss of slot k (from 1) is the cross-entropy of
the text's token with weight exp(-(k - 1) / gamma_w): `decay` is exp(-1 / gamma_w). Embedding and
output head are the target's, frozen. Tokens are drawn independently of each other, which at
temperature 1 loses much of the acceptance that a greedy draft has.

Paper: gamma_w 7, 5, 4 for blocks of 16, 10, 8 with the anchor; 5 layers; 512 anchors in sequences
of up to 3,072 tokens. `block_size` counts drafted tokens, without the anchor; the paper's, and the
exported config's, is one more.

Where code and paper differ: speculators 0.9 trains on KL to the target's distribution or, with
another `loss_fn`, on the cross-entropy of the target's likeliest token; the paper on that of the
text. speculators divides the weighted loss by the number of slots, the paper by the sum of weights:
a constant factor. speculators starts the last norm at 1, this head at the target's.

Published recipe: 800,000 prompts answered by the target (`text = "target"`), 6 epochs, AdamW,
learning rate 6e-4, clip 1.0, cosine with 4 % of warm-up. Code: https://github.com/z-lab/dflash.
"""

# Trains: a head.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from draftmark.baselines._block_head import GAMMA_4, FusedBlockHead
from draftmark.baselines._head import Decay

if TYPE_CHECKING:
    from typing import Any

    from draftmark.models.heads.block_head import BlockModule, BlockShape


@dataclass(frozen=True)
class DFlash(FusedBlockHead):
    """`decay` is by default the paper's for blocks of 8 with the anchor."""

    block_size: Annotated[int, Field(ge=1, le=31)] = 7
    decay: Decay = GAMMA_4

    def module(self, config: "Any", shape: "BlockShape") -> "BlockModule":
        """Return random layers."""
        from draftmark.models.heads.dflash_head import DFlashModule, qwen3_config

        return DFlashModule(config, shape, qwen3_config(config, self.num_layers))


METHOD = DFlash
