"""Shared parts of methods whose draft is a block head, which drafts a block in one pass.

A head (`draftmark.models.block_head`) reads the target's states of the text so far and answers all
slots of a block at once. The head trains on stored hidden states of fixed text, from starts drawn
anew in each step. Training keeps the checkpoint with the highest acceptance of first drafted tokens
on the validation rows, as for all methods; the later slots train beside the first.

A new block head is one file: a method with `module`, which returns its weights.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from draftmark.baselines._feature_head import Decay
from draftmark.baselines._selection import selection_weights, train_on_gaps
from draftmark.baselines._token_losses import TokenLossName, token_loss
from draftmark.errors import UserError
from draftmark.types import MAX_GAMMA, Kind, Placement, Text, TrainingRun

if TYPE_CHECKING:
    from typing import Any

    import torch

    from draftmark.models.block_head import BlockHead, BlockModule, BlockShape
    from draftmark.models.hidden_states import StateSource, StoredHiddenStates
    from draftmark.models.language_model import LanguageModel
    from draftmark.models.shapes import Shape
    from draftmark.speculation.block_drafter import BlockDrafter
    from draftmark.training.batches import Batch
    from draftmark.training.context import Draft, TrainingContext
    from draftmark.training.loop import TokenLoss
    from draftmark.training.validation import Criterion

BlockLossName = TokenLossName | Literal["cross_entropy"]
Share = Annotated[float, Field(gt=0, le=1)]
Layer = Annotated[int, Field(ge=0)]
GAMMA_4 = math.exp(-1 / 4)  # DFlash's weights exp(-k / 4), for blocks of 8 with the anchor


@dataclass(frozen=True)
class BlockHeadMethod(ABC):
    """The knobs of every block head.

    `block_size`: the number of tokens that a block drafts in training, and at most in drafting: a
    longer block length drafts `block_size` tokens. `loss`: the token loss; "cross_entropy" is that
    of the text's token. Slot k (from 0) has weight decay^k, or "dpace"
    (`training.position_weights`): what the slot adds to the expected accepted length. `anchors`:
    the share of each response's starts from which a step reads a block. `keep` below 1: AdaSPEC's
    selection (arXiv 2510.19779, there 0.4) by the loss over all slots, against a reference head.
    `mask_token`: the id at slots whose token is unknown, if the head has such slots; by default one
    that texts do not contain, if the target's embedding has such a row.
    """

    block_size: Annotated[int, Field(ge=1, le=MAX_GAMMA)] = 8
    loss: BlockLossName = "cross_entropy"
    decay: Decay = 1.0
    anchors: Share = 0.5
    keep: Share = 1.0
    mask_token: Annotated[int, Field(ge=0)] | None = None

    kind: ClassVar[Kind] = "feature_head"
    trains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise ValueError for knobs that exclude each other."""
        if self.decay == "dpace" and self.keep < 1:
            raise ValueError('keep below 1 weighs tokens, decay = "dpace" slots: choose one')

    @abstractmethod
    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return the target's layers (of `num_layers`) whose hidden states the head reads."""

    @abstractmethod
    def module(self, config: "Any", shape: "BlockShape") -> "BlockModule":
        """Return random weights of the head, for a target of that config."""

    @property
    def shares(self) -> tuple[float, ...]:
        """For each slot, the share of a response's starts whose block is read up to that slot."""
        return (self.anchors,) * self.block_size

    def head(self, target: "LanguageModel", texts: Sequence[Text], seed: int) -> "BlockHead":
        """Return the untrained head; raises UserError if the target lacks a layer it reads."""
        from draftmark.models.block_head import block_shape, make_block_head

        layers = self.layers(target.model.config.num_hidden_layers)
        shape = block_shape(target, layers, self.block_size, self.mask_token)
        return make_block_head(target, self.module, shape, seed=seed)

    def draft_shape(self, target: "Shape", config: "Mapping[str, Any]") -> "Shape":
        """Return the shape of the head for a target of that shape and config, for planning."""
        from draftmark.models.block_head import count_block_head

        layers = self.layers(target.layers)
        return count_block_head(self.module, target, config, layers, self.block_size)

    def slot_loss(self, context: "TrainingContext") -> "TokenLoss":
        """Return the loss of a slot; its batch has the states of that slot."""
        return self.token_loss()

    def token_loss(self) -> "TokenLoss":
        """Return the loss of the tokens that a slot predicts, by the name of the knob `loss`."""
        if self.loss == "cross_entropy":
            return label_loss
        loss = token_loss(self.loss)
        return lambda draft_NV, target_NV, _: loss(draft_NV, target_NV)

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the head trained at every slot."""
        from draftmark.training.block_training import mean_over_slots, trainable_block_head
        from draftmark.training.loop import train

        head = trainable_block_head(context.draft, self.shares, context.seed)
        context, loss = replace(context, draft=head), self.slot_loss(context)
        if self.decay == "dpace":
            return _train_by_length(context, loss)
        weights = [self.decay**slot for slot in range(self.block_size)]
        loss = mean_over_slots(loss, weights, self.shares)
        if self.keep == 1:
            return train(context, loss)
        return train_on_gaps(
            context, loss, lambda gap_N, batch: selection_weights(gap_N, batch, self.keep)
        )

    def training_runs(self, run: TrainingRun) -> tuple[TrainingRun, ...]:
        """Return the head's training run, preceded by the reference's if tokens are selected."""
        run = replace(run, depth=sum(self.shares))
        return (run,) if self.keep == 1 else (run, replace(run, compared=True))

    def criterion(
        self, target: "LanguageModel", validation: "StoredHiddenStates", states: "StateSource"
    ) -> "Criterion":
        """Return the acceptance of first drafted tokens on the validation rows."""
        from draftmark.training.block_training import block_acceptance_criterion

        return block_acceptance_criterion(target, validation, states)

    def drafter(self, directory: Path, placement: Placement) -> "BlockDrafter":
        """Return the drafter of a saved head."""
        from draftmark.models.block_head import load_block_head
        from draftmark.speculation.block_drafter import BlockDrafter

        return BlockDrafter(load_block_head(directory, self.module, placement))


def _train_by_length(context: "TrainingContext", loss: "TokenLoss") -> "Draft":
    """Return the head trained with D-PACE's weights of slots."""
    from draftmark.training.block_training import confidence_by_slot, loss_by_slot
    from draftmark.training.loop import PreLossPass, train
    from draftmark.training.position_weights import weigh_depths

    return train(context, loss_by_slot(loss), PreLossPass(confidence_by_slot, weigh=weigh_depths))


def label_loss(
    draft_NV: "torch.Tensor", target_NV: "torch.Tensor", batch: "Batch"
) -> "torch.Tensor":
    """Return the cross-entropy [N] of the text's own tokens."""
    from draftmark.training.divergences import cross_entropy

    return cross_entropy(draft_NV, batch.labels_N)


def fused_layers(name: str, given: tuple[int, ...] | None, num_layers: int) -> tuple[int, ...]:
    """Return the layers that a head fuses, in order, by default those of EAGLE-3.

    Layer k is the hidden state after k layers. Raises UserError if the target lacks one.
    """
    middle = num_layers // 2
    layers = given or (min(2, middle - 1), middle, max(num_layers - 3, middle + 1))
    if len(set(layers)) < len(layers) or max(layers) > num_layers:
        raise UserError(
            f"{name}: features = {list(layers)} are not different layers of a target with layers 0 "
            f"to {num_layers}; set features to some of them in the method's entry."
        )
    return tuple(sorted(layers))
