"""Shared parts of methods whose draft is a head: knobs, losses and selections.

`_feature_head` has heads that read their own output token by token, `_block_head` heads that draft
a block in one pass. A depth is the number of tokens before a token in its block: the steps that a
feature head rolled forward, or the slot of a block head. Training keeps the checkpoint with the
highest acceptance of first drafted tokens on the validation rows, as for all methods.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from draftmark.baselines._selection import BY_TARGET, Choice, train_selected
from draftmark.baselines._token_losses import LossName, loss_by_name
from draftmark.types import Kind, Text, TrainingRun

if TYPE_CHECKING:
    from draftmark.models.hidden_states import StateSource, StoredHiddenStates
    from draftmark.models.language_model import LanguageModel
    from draftmark.training.context import Draft, TrainingContext
    from draftmark.training.loop import TokenLoss
    from draftmark.training.validation import Criterion

Decay = Annotated[float, Field(gt=0, le=1)] | Literal["dpace"]
Layer = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class HeadMethod(ABC):
    """The knobs of every head.

    `loss`: the token loss; "cross_entropy" is -log q(token). Depth k (from 0) has weight decay^k,
    or "dpace" (`training.position_weights`): what the depth adds to the expected accepted length.
    `keep` below 1 trains on a share of the tokens, by the loss over all depths. `selection` chooses
    them as in `adaspec`: against a reference head, trained first, by the largest gap ("gap", arXiv
    2510.19779, there 0.4), the smallest ("reversed") or a draw ("random"); or by the target alone
    ("entropy", "flatness").
    """

    loss: LossName = "cross_entropy"
    decay: Decay = 1.0
    keep: Share = 1.0
    selection: Choice = "gap"

    kind: ClassVar[Kind] = "feature_head"
    trains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise ValueError for knobs that exclude each other."""
        if self.decay == "dpace" and self.keep < 1:
            raise ValueError('keep below 1 weighs tokens, decay = "dpace" depths: choose one')
        if self.selection != "gap" and self.keep == 1:
            raise ValueError(f"selection = {self.selection!r} needs keep below 1")

    @property
    @abstractmethod
    def reads(self) -> float:
        """The mean number of depths at which training reads a token."""

    @abstractmethod
    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return the target's layers (of `num_layers`) whose hidden states the head reads."""

    @abstractmethod
    def head(self, target: "LanguageModel", texts: Sequence[Text], seed: int) -> "LanguageModel":
        """Return the untrained head; raises UserError if the target lacks a layer it reads."""

    @abstractmethod
    def criterion(
        self, target: "LanguageModel", validation: "StoredHiddenStates", states: "StateSource"
    ) -> "Criterion":
        """Return the acceptance of first drafted tokens on the validation rows."""

    @abstractmethod
    def mean_loss(self, loss: "TokenLoss") -> "TokenLoss":
        """Return the mean [N] of a token loss over depths, with the weights of `decay`."""

    @abstractmethod
    def losses_and_confidence(self, loss: "TokenLoss") -> tuple["TokenLoss", "TokenLoss"]:
        """Return a token loss at every depth [N, K], and q(token) there, for D-PACE."""

    def token_loss(self) -> "TokenLoss":
        """Return the token loss at one depth, by its name."""
        return loss_by_name(self.loss)

    def fit(self, context: "TrainingContext", loss: "TokenLoss") -> "Draft":
        """Return the head of the context, as training reads it, trained by a token loss."""
        from draftmark.training.loop import PreLossPass, train
        from draftmark.training.position_weights import weigh_depths

        if self.decay == "dpace":
            losses, confidence = self.losses_and_confidence(loss)
            return train(context, losses, PreLossPass(confidence, weigh=weigh_depths))
        return train_selected(context, self.mean_loss(loss), self.keep, self.selection)

    def training_runs(self, run: TrainingRun) -> tuple[TrainingRun, ...]:
        """Return the head's training run, preceded by the reference's if there is one."""
        run = replace(run, depth=self.reads)
        if self.keep == 1 or self.selection in BY_TARGET:
            return (run,)
        return run, replace(run, compared=True)


def middle_layers(num_layers: int) -> tuple[int, ...]:
    """Return the low, middle and high layer that heads fuse unless a knob names others.

    Layers 2, L // 2 and L - 3 of L, as EAGLE-3's; closer together in a shallow target.
    """
    middle = num_layers // 2
    return min(2, middle - 1), middle, max(num_layers - 3, middle + 1)
