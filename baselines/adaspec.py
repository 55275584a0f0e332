"""AdaSPEC: distillation on the tokens that a reference draft has shown can be learned.

Hu et al. 2025 (arXiv 2510.19779, equations 6 to 10; code https://github.com/yuezhouhu/adaspec at
381904c). A reference is trained from the draft init by plain distillation. The draft starts from
the init again; at each step both are compared with the target token by token, and only the tokens
count on which the draft's loss exceeds the reference's by most.

Differences from the published code: the loss is the mean over the kept tokens (equation 10), where
the code divides by all of them, a gradient `keep` times as large, which AdamW does not see and
`clip_norm` does. The kept are counted as `torch.quantile` counts them without ties, and ties go to
the token that comes first, where the code keeps all of them. Both trainings have the settings of
the recipe's `training`, and each draft is its best checkpoint on validation rows.

Budgets. The ledger counts both trainings, every supervised token (kept or not) and what the
reference read. As in the paper the reference comes on top of the draft's passes, so kd with as many
passes is the control of matched passes. Of matched compute: a `training.budget` of flops, which
holds for both trainings together. A step that selects costs 1.3 to 2 times one of kd's, the more of
it the heads do, and 1.4 with the quickstart's pair: 2.4 times kd for equal passes. The other
controls are the knobs `selection` and `reference_as_init`; `keep = 1`, the rest by default, gives
kd's weights bit for bit.

Some steps are noted, token by token, with the gap and what was kept
(`training.token_selection_log`).

Legend: N supervised position.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from draftmark.baselines._selection import Choice, kept, train_on_gaps
from draftmark.speculation.methods import LanguageModelMethod
from draftmark.types import TrainingRun

if TYPE_CHECKING:
    import torch

    from draftmark.training.batches import Batch
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class AdaSPEC(LanguageModelMethod):
    """The knobs; `keep` and `divergence` are the paper's.

    `keep`: the share of tokens kept (the paper's k). `divergence`: the loss of both trainings and
    of the gap between them. `selection`: the largest gaps, the smallest (`reversed`), or tokens
    drawn anew at each step (`random`); all three cost the same. `micro_batch`: how many rows are
    ranked together, as they follow in the step (5 in the published code; 1: each by itself); by
    default all rows of a step. `reference_passes`, `reference_rows_per_batch`: of the reference's
    training, by default as the draft's, and half of the budget. `reference_as_init`: the draft
    starts as the reference, not from the init.
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
        """Return the reference's training and the draft's, which compares with it."""
        passes = self.reference_passes or run.passes
        rows = self.reference_rows_per_batch or run.rows_per_batch
        return TrainingRun(passes, rows), replace(run, compared=True)

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained on the selected tokens, with the ledger of both trainings."""
        from draftmark.training.divergences import DIVERGENCES
        from draftmark.training.token_selection_log import gather, note

        divergence = DIVERGENCES[self.divergence]

        def loss(
            draft_logits_NV: "torch.Tensor", target_logits_NV: "torch.Tensor", _: "Batch"
        ) -> "torch.Tensor":
            return divergence(draft_logits_NV, target_logits_NV)

        def weigh(gap_N: "torch.Tensor", batch: "Batch") -> "torch.Tensor":
            weights_N = self.weigh(gap_N, batch, context.seed)
            if context.team.is_first:
                note(context.scratch, gap_N, weights_N, batch)
            return weights_N

        made = train_on_gaps(
            context,
            loss,
            weigh,
            reference_passes=self.reference_passes,
            reference_rows_per_batch=self.reference_rows_per_batch,
            reference_as_init=self.reference_as_init,
        )
        if context.team.is_first:
            gather(context.scratch)
        return made

    def weigh(self, gap_N: "torch.Tensor", batch: "Batch", seed: int) -> "torch.Tensor":
        """Return 1 for each token that is kept and 0 for the others [N]."""
        return kept(gap_N, batch, self.keep, self.selection, self.micro_batch, seed)


METHOD = AdaSPEC
