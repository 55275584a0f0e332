"""AdaSPEC: selective knowledge distillation (Hu et al. 2025, arXiv 2510.19779, equations 6 to 10).

A reference draft r is trained from the draft init by plain distillation. The draft q is then
trained from the same init on the tokens with most to gain. With the target p, the loss of a step is

    mean of D(p, q) over the share `keep` of tokens with the largest D(p, q) - D(p, r)

Deviations from the code (https://github.com/yuezhouhu/adaspec at 381904c): the code divides by all
tokens, so its gradient is `keep` times as large, which matters to `clip_norm` but not to AdamW.
`keep` selects as many tokens as `torch.quantile` without ties; of tied tokens the first are kept
(the code keeps all). Both trainings use the recipe's `training` and keep the checkpoint with the
best validation acceptance.

The ledger counts both trainings, all supervised tokens and the reference's forward passes. As in
the paper, the reference's passes are extra: to control for passes compare with `kd` of as many
passes, to control for compute set a `training.budget` of flops (both trainings share it). A
selecting step costs 1.3 to 2 times a step of `kd`, more if the heads dominate: 1.4 times with the
quickstart's pair, so 2.4 times `kd` in all. `selection` and `reference_as_init` are more controls.
A selection by the target alone costs little more than `kd`. With `keep = 1` and other defaults, the
weights equal those of `kd` bit for bit.

Legend: N supervised token, V vocabulary.
"""

# Trains: two models.

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from draftmark.baselines._selection import (
    BY_TARGET,
    Choice,
    selection_weights,
    train_on_gaps,
    train_on_progress,
    train_on_target_scores,
)
from draftmark.speculation.methods import LanguageModelMethod
from draftmark.types import TrainingRun

if TYPE_CHECKING:
    import torch

    from draftmark.baselines._selection import Weigh
    from draftmark.training.batches import Batch
    from draftmark.training.context import Draft, TrainingContext
    from draftmark.training.loop import TokenLoss


@dataclass(frozen=True)
class AdaSPEC(LanguageModelMethod):
    """`keep` is the paper's k, `divergence` its D.

    `selection`: keep the largest gaps ("gap"), the smallest ("reversed"), or tokens drawn at each
    step ("random"), all at the same cost; or, without a reference, the tokens where the target's
    distribution has the largest "entropy" or "flatness". `micro_batch`: rows whose tokens are
    ranked together (the code: 5); None ranks all rows of a step.

    `reference`: trained first ("trained"), or the draft's own past ("past"), which costs no
    training. `reference_refresh`: the reference takes the draft's weights every so many steps,
    which makes the gap an estimate of present progress, the paper's outlook; None never.
    `reference_passes`, `reference_rows_per_batch`: for the reference's training; None uses the
    draft's, and half of a budget. `reference_as_init`: the draft's training starts from the
    reference.
    """

    keep: Annotated[float, Field(gt=0, le=1)] = 0.4
    divergence: Literal[
        "forward_kl", "reverse_kl", "jsd", "tvd", "skew_kl", "skew_reverse_kl", "akl", "abkd"
    ] = "forward_kl"
    selection: Choice = "gap"
    micro_batch: Annotated[int, Field(ge=1)] | None = None
    reference: Literal["trained", "past"] = "trained"
    reference_refresh: Annotated[int, Field(ge=1)] | None = None
    reference_passes: Annotated[float, Field(gt=0)] | None = None
    reference_rows_per_batch: Annotated[int, Field(ge=1)] | None = None
    reference_as_init: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for knobs of a reference that is not there."""
        if self.reference == "past" and self.reference_refresh is None:
            raise ValueError('reference = "past" needs reference_refresh, a number of steps')
        if self.reference == "past" and self._trains_reference_otherwise:
            raise ValueError('reference = "past" trains no reference: leave out its other knobs')
        if self.selection in BY_TARGET and (
            self.reference_refresh or self._trains_reference_otherwise
        ):
            raise ValueError(
                f"selection = {self.selection!r} needs no reference: leave out its knobs"
            )

    @property
    def _trains_reference_otherwise(self) -> bool:
        """True if a knob of the reference's training is set."""
        return bool(
            self.reference_passes or self.reference_rows_per_batch or self.reference_as_init
        )

    def training_runs(self, run: TrainingRun) -> tuple[TrainingRun, ...]:
        """Return the training runs of the reference, if it is trained, and of the draft."""
        if self.selection in BY_TARGET:
            return (run,)
        compared = replace(run, compared=True)
        if self.reference == "past":
            return (compared,)
        passes = self.reference_passes or run.passes
        rows = self.reference_rows_per_batch or run.rows_per_batch
        return TrainingRun(passes, rows), compared

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the trained draft; log the values and kept tokens of some steps."""
        from draftmark.training.divergences import DIVERGENCES
        from draftmark.training.token_selection_log import gather_selections, log_selection

        divergence = DIVERGENCES[self.divergence]

        def loss(draft_NV: "torch.Tensor", target_NV: "torch.Tensor", _: "Batch") -> "torch.Tensor":
            return divergence(draft_NV, target_NV)

        def weigh(values_N: "torch.Tensor", batch: "Batch") -> "torch.Tensor":
            weights_N = self.weigh(values_N, batch, context.seed)
            if context.team.is_first and self.selection not in BY_TARGET:
                log_selection(context.scratch, values_N, weights_N, batch)
            return weights_N

        draft = self._train(context, loss, weigh)
        if context.team.is_first:
            gather_selections(context.scratch)
        return draft

    def _train(self, context: "TrainingContext", loss: "TokenLoss", weigh: "Weigh") -> "Draft":
        if self.selection in BY_TARGET:
            return train_on_target_scores(context, loss, weigh, self.selection)
        if self.reference == "past":
            assert self.reference_refresh is not None
            return train_on_progress(context, loss, weigh, self.reference_refresh)
        return train_on_gaps(
            context,
            loss,
            weigh,
            reference_passes=self.reference_passes,
            reference_rows_per_batch=self.reference_rows_per_batch,
            reference_as_init=self.reference_as_init,
            reference_refresh=self.reference_refresh,
        )

    def weigh(self, values_N: "torch.Tensor", batch: "Batch", seed: int) -> "torch.Tensor":
        """Return weights [N] from gaps or scores [N]: 1 for kept tokens, 0 for the others."""
        return selection_weights(values_N, batch, self.keep, self.selection, self.micro_batch, seed)


METHOD = AdaSPEC
