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
With `keep = 1` and other defaults, the weights equal those of `kd` bit for bit.

Legend: N supervised token, V vocabulary.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from draftmark.baselines._selection import Choice, selection_weights, train_on_gaps
from draftmark.speculation.methods import LanguageModelMethod
from draftmark.types import TrainingRun

if TYPE_CHECKING:
    import torch

    from draftmark.training.batches import Batch
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class AdaSPEC(LanguageModelMethod):
    """`keep` is the paper's k, `divergence` its D.

    `selection`: keep the largest gaps ("gap"), the smallest ("reversed"), or tokens drawn at each
    step ("random"), all at the same cost. `micro_batch`: rows whose tokens are ranked together (the
    code: 5); None ranks all rows of a step. `reference_passes`, `reference_rows_per_batch`: for the
    reference's training; None uses the draft's, and half of a budget. `reference_as_init`: the
    draft's training starts from the reference.
    """

    keep: Annotated[float, Field(gt=0, le=1)] = 0.4
    divergence: Literal[
        "forward_kl", "reverse_kl", "jsd", "tvd", "skew_kl", "skew_reverse_kl", "akl", "abkd"
    ] = "forward_kl"
    selection: Choice = "gap"
    micro_batch: Annotated[int, Field(ge=1)] | None = None
    reference_passes: Annotated[float, Field(gt=0)] | None = None
    reference_rows_per_batch: Annotated[int, Field(ge=1)] | None = None
    reference_as_init: bool = False

    def training_runs(self, run: TrainingRun) -> tuple[TrainingRun, ...]:
        """Return the training runs of the reference and of the draft."""
        passes = self.reference_passes or run.passes
        rows = self.reference_rows_per_batch or run.rows_per_batch
        return TrainingRun(passes, rows), replace(run, compared=True)

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the trained draft; log the gaps and kept tokens of some steps."""
        from draftmark.training.divergences import DIVERGENCES
        from draftmark.training.token_selection_log import gather_selections, log_selection

        divergence = DIVERGENCES[self.divergence]

        def weigh(gap_N: "torch.Tensor", batch: "Batch") -> "torch.Tensor":
            weights_N = self.weigh(gap_N, batch, context.seed)
            if context.team.is_first:
                log_selection(context.scratch, gap_N, weights_N, batch)
            return weights_N

        draft = train_on_gaps(
            context,
            lambda draft_NV, target_NV, _: divergence(draft_NV, target_NV),
            weigh,
            reference_passes=self.reference_passes,
            reference_rows_per_batch=self.reference_rows_per_batch,
            reference_as_init=self.reference_as_init,
        )
        if context.team.is_first:
            gather_selections(context.scratch)
        return draft

    def weigh(self, gap_N: "torch.Tensor", batch: "Batch", seed: int) -> "torch.Tensor":
        """Return weights [N] from gaps [N]: 1 for kept tokens, 0 for the others."""
        return selection_weights(gap_N, batch, self.keep, self.selection, self.micro_batch, seed)


METHOD = AdaSPEC
