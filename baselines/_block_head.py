"""Shared parts of methods whose draft is a block head, which drafts a block in one pass.

A head (`draftmark.models.heads.block_head`) reads the target's states of the text so far and
answers all slots of a block at once. The head trains on stored hidden states of fixed text, from
starts drawn anew in each step. Checkpoints are chosen by first drafted tokens; the later slots
train beside them. `_head` has the parts that feature heads share.

A new block head is one file: a method with `module`, which returns its weights.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from draftmark.baselines._head import HeadMethod, Layer, Share, middle_layers
from draftmark.errors import UserError
from draftmark.types import MAX_GAMMA, Placement, Text

if TYPE_CHECKING:
    from typing import Any

    from draftmark.models.heads.block_head import BlockHead, BlockModule, BlockShape
    from draftmark.models.hidden_states import StateSource, StoredHiddenStates
    from draftmark.models.language_model import LanguageModel
    from draftmark.models.shapes import Shape
    from draftmark.speculation.block_drafter import BlockDrafter
    from draftmark.training.context import Draft, TrainingContext
    from draftmark.training.loop import TokenLoss
    from draftmark.training.validation import Criterion

GAMMA_4 = math.exp(-1 / 4)  # DFlash's weights exp(-k / 4), for blocks of 8 with the anchor


@dataclass(frozen=True)
class BlockHeadMethod(HeadMethod):
    """The knobs of every block head, beside those of every head; depth k is slot k.

    `block_size`: the number of tokens that a block drafts in training, and at most in drafting: a
    longer block length drafts `block_size` tokens. `anchors`: the share of each response's starts
    from which a step reads a block. `mask_token`: the id at slots whose token is unknown, if the
    head has such slots; by default one that texts do not contain, if the target's embedding has
    such a row.
    """

    block_size: Annotated[int, Field(ge=1, le=MAX_GAMMA)] = 8
    anchors: Share = 0.5
    mask_token: Annotated[int, Field(ge=0)] | None = None

    @abstractmethod
    def module(self, config: "Any", shape: "BlockShape") -> "BlockModule":
        """Return random weights of the head, for a target of that config."""

    @property
    def shares(self) -> tuple[float, ...]:
        """For each slot, the share of a response's starts whose block is read up to that slot."""
        return (self.anchors,) * self.block_size

    @property
    def reads(self) -> float:
        """The mean number of slots at which training reads a token."""
        return sum(self.shares)

    def head(self, target: "LanguageModel", texts: Sequence[Text], seed: int) -> "BlockHead":
        """Return the untrained head; raises UserError if the target lacks a layer it reads."""
        from draftmark.models.heads.block_head import block_shape, make_block_head

        layers = self.layers(target.model.config.num_hidden_layers)
        shape = block_shape(target, layers, self.block_size, self.mask_token)
        return make_block_head(target, self.module, shape, seed=seed)

    def draft_shape(self, target: "Shape", config: "Mapping[str, Any]") -> "Shape":
        """Return the shape of the head for a target of that shape and config, for planning."""
        from draftmark.models.heads.block_head import count_block_head

        layers = self.layers(target.layers)
        return count_block_head(self.module, target, config, layers, self.block_size)

    def slot_loss(self, head: "BlockHead") -> "TokenLoss":
        """Return the loss of a slot of a head; its batch has the states of that slot."""
        return self.token_loss()

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the head trained at every slot."""
        from draftmark.training.block_training import trainable_block_head

        head = trainable_block_head(context.draft, self.shares, context.seed)
        return self.fit(replace(context, draft=head), self.slot_loss(head))

    def mean_loss(self, loss: "TokenLoss") -> "TokenLoss":
        """Return the mean [N] of a token loss over slots, with weights decay^k."""
        from draftmark.training.block_training import mean_over_slots

        assert self.decay != "dpace"
        weights = [self.decay**slot for slot in range(self.block_size)]
        return mean_over_slots(loss, weights, self.shares)

    def losses_and_confidence(self, loss: "TokenLoss") -> tuple["TokenLoss", "TokenLoss"]:
        """Return a token loss at every slot [N, K], and q(token) there."""
        from draftmark.training.block_training import confidence_by_slot, loss_by_slot

        return loss_by_slot(loss), confidence_by_slot

    def criterion(
        self, target: "LanguageModel", validation: "StoredHiddenStates", states: "StateSource"
    ) -> "Criterion":
        """Return the acceptance of first drafted tokens on the validation rows."""
        from draftmark.training.block_training import block_acceptance_criterion

        return block_acceptance_criterion(target, validation, states)

    def drafter(self, directory: Path, placement: Placement) -> "BlockDrafter":
        """Return the drafter of a saved head."""
        from draftmark.models.heads.block_head import load_block_head
        from draftmark.speculation.block_drafter import BlockDrafter

        return BlockDrafter(load_block_head(directory, self.module, placement))


@dataclass(frozen=True)
class FusedBlockHead(BlockHeadMethod):
    """A block head with decoder layers of its own, which read fused states of the target.

    `num_layers`: decoder layers of the head; `features`: the target's layers that are fused, by
    default those of EAGLE-3. Layer k is the hidden state after k layers.
    """

    num_layers: Annotated[int, Field(ge=1)] = 2
    features: tuple[Layer, ...] | None = None

    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return the fused layers in order; raises UserError if the target lacks one."""
        layers = self.features or middle_layers(num_layers)
        if len(set(layers)) < len(layers) or max(layers) > num_layers:
            name = type(self).__module__.rpartition(".")[2]
            raise UserError(
                f"{name}: features = {list(layers)} are not different layers of a target with "
                f"layers 0 to {num_layers}; set features to some of them in the method's entry."
            )
        return tuple(sorted(layers))
