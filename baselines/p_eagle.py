"""P-EAGLE: EAGLE-3 with masked slots, which drafts a block in one pass (arXiv 2602.01469).

The head is EAGLE-3's (`eagle3`), of a few layers. Its first slot reads the fused feature before the
anchor and the anchor, the last token of the text. The slots after it have neither feature nor
token: each reads a learned hidden state, `mask_hidden`, through the same `fc`, and a learned mask
embedding. A slot sees the context and the slots of its block before it. The loss of every slot is
KL(p || q) to the target's distribution, without decay.

Training reads all starts at the first slot, and max(ratio^k, floor) of them at slot k, each start
among those of slot k - 1 (conditional drop-token sampling): `ratio` 0.7, `floor` 0.2.

Where codes and paper differ: the paper and speculators train the embedding, whose row of the mask
token then serves the masked slots; here the target's embedding is frozen and that row alone is
learned, and the exported embedding holds it. speculators draws the starts of a slot with the token
count less k, in turn from those drawn before; here one random order of the starts serves all slots,
which has the same distribution, edges aside. speculators 0.9 trains 8 slots in one layer count of
the target's config; the paper takes 4 layers.

Published recipe: UltraChat-200k and others, answered by the target (`text = "target"`), AdamW,
learning rate 1e-4, 8 slots.
"""

# In short: P-EAGLE: EAGLE-3 that drafts a block in one pass.
# Trains: a head.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from draftmark.baselines._block_head import FusedBlockHead
from draftmark.baselines._head import Share
from draftmark.baselines._token_losses import LossName

if TYPE_CHECKING:
    from typing import Any

    from draftmark.models.heads.block_head import BlockModule, BlockShape


@dataclass(frozen=True)
class PEagle(FusedBlockHead):
    """`anchors`: the share of starts read at slot 0; `ratio`, `floor` set that of later slots."""

    loss: LossName = "forward_kl"
    anchors: Share = 1.0
    ratio: Share = 0.7
    floor: Share = 0.2
    num_layers: Annotated[int, Field(ge=1)] = 1

    parallel_drafting: ClassVar[bool] = True

    @property
    def shares(self) -> tuple[float, ...]:
        """For each slot, the share of a response's starts whose block is read up to that slot."""
        return tuple(
            self.anchors * max(self.ratio**slot, self.floor) for slot in range(self.block_size)
        )

    def module(self, config: "Any", shape: "BlockShape") -> "BlockModule":
        """Return random layers."""
        from draftmark.models.heads.p_eagle_head import PEagleModule

        return PEagleModule(config, shape, self.num_layers)


METHOD = PEagle
