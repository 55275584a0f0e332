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

Legend: N supervised position.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from baselines._language_model import LanguageModelMethod
from harness.types import Course, Draft

if TYPE_CHECKING:
    import torch

    from harness.batches import Batch
    from harness.training import TrainingContext


@dataclass(frozen=True)
class AdaSPEC(LanguageModelMethod):
    """The knobs; `keep` and `divergence` are the paper's.

    `keep`: the share of tokens kept (the paper's k). `divergence`: the loss of both trainings and
    of the gap between them. `selection`: the largest gaps, the smallest (`reversed`), or tokens
    drawn anew at each step (`random`); all three cost the same. `micro_batch`: how many rows are
    ranked together, as they follow in the step (5 in the published code; 1: each by itself); by
    default all rows of a step. `reference_passes`, `reference_rows_per_batch`: of the reference's
    training, by default as the draft's, and half of the budget. `reference_as_init`: the draft
    starts as the
    reference, not from the init.
    """

    keep: Annotated[float, Field(gt=0, le=1)] = 0.4
    divergence: Literal[
        "forward_kl", "reverse_kl", "jsd", "tvd", "skew_kl", "skew_reverse_kl", "akl", "abkd"
    ] = "forward_kl"
    selection: Literal["gap", "reversed", "random"] = "gap"
    micro_batch: Annotated[int, Field(ge=1)] | None = None
    reference_passes: Annotated[float, Field(gt=0)] | None = None
    reference_rows_per_batch: Annotated[int, Field(ge=1)] | None = None
    reference_as_init: bool = False

    def courses(self, told: Course) -> tuple[Course, ...]:
        """Return the reference's training and the draft's, which compares with it."""
        passes = self.reference_passes or told.passes
        rows = self.reference_rows_per_batch or told.rows_per_batch
        return Course(passes, rows), replace(told, compared=True)

    def train(self, context: "TrainingContext") -> Draft:
        """Return the draft trained on the selected tokens, with the ledger of both trainings."""
        from harness.divergences import DIVERGENCES
        from harness.training import Survey, train

        divergence = DIVERGENCES[self.divergence]

        def loss(
            draft_logits_NV: "torch.Tensor", target_logits_NV: "torch.Tensor", _: "Batch"
        ) -> "torch.Tensor":
            return divergence(draft_logits_NV, target_logits_NV)

        model = context.draft.model
        init = {name: value.clone() for name, value in model.state_dict().items()}
        # In place, as texts that the draft writes are the reference's own while it is trained.
        own = context.before("reference", self.reference_passes, self.reference_rows_per_batch)
        first = train(own, loss)
        reference = replace(context.draft, model=copy.deepcopy(model).requires_grad_(False))
        if not self.reference_as_init:
            model.load_state_dict(init)
        survey = Survey(
            loss, reference, lambda gap_N, batch: self.weigh(gap_N, batch, context.seed)
        )
        made = train(context.after(first.ledger), loss, survey)
        return replace(made, ledger=first.ledger + made.ledger)

    def weigh(self, gap_N: "torch.Tensor", batch: "Batch", seed: int) -> "torch.Tensor":
        """Return 1 for each token that is kept and 0 for the others [N]."""
        match self.selection:
            case "gap":
                score_N = gap_N
            case "reversed":
                score_N = -gap_N
            case "random":
                score_N = _drawn(gap_N, seed * 1_000_003 + batch.step)
        weights_N = gap_N.new_zeros(len(gap_N))
        for together_M in self._ranked_together(batch):
            order_M = score_N[together_M].argsort(descending=True, stable=True)
            weights_N[together_M[order_M[: num_kept(len(together_M), self.keep)]]] = 1
        return weights_N

    def _ranked_together(self, batch: "Batch") -> "Iterator[torch.Tensor]":
        """Yield the indices of the tokens of each micro-batch."""
        num_rows = len(batch.example_ids)
        size = self.micro_batch or num_rows
        for number in range(math.ceil(num_rows / size)):
            yield (batch.rows_N // size == number).nonzero().squeeze(1)


def num_kept(num_tokens: int, keep: float) -> int:
    """Return how many of some tokens are kept: those at or above the quantile of 1 - keep.

    floor(keep (n - 1)) + 1, which is within one of keep n, never none, and all for keep = 1. `keep`
    is taken as the decimal that it was written as.
    """
    return math.floor(Fraction(str(keep)) * (num_tokens - 1)) + 1


def _drawn(gap_N: "torch.Tensor", seed: int) -> "torch.Tensor":
    """Return uniform scores [N], drawn on the CPU: the same on every device."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(gap_N), generator=generator).to(gap_N.device)


METHOD = AdaSPEC
