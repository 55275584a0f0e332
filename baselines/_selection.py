"""AdaSPEC's token selection (Hu et al. 2025, arXiv 2510.19779), for any draft and token loss.

A reference draft is trained first. The draft is then trained on the tokens whose loss exceeds the
reference's by most. `adaspec` does this for language models, the knob `keep` for feature heads.

Legend: N supervised token, M tokens ranked together.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from draftmark.training.batches import Batch
    from draftmark.training.context import Draft, TrainingContext
    from draftmark.training.loop import TokenLoss

Choice = Literal["gap", "reversed", "random"]


def train_on_gaps(
    context: "TrainingContext",
    loss: "TokenLoss",
    weigh: "Callable[[torch.Tensor, Batch], torch.Tensor]",
    *,
    reference_passes: float | None = None,
    reference_rows_per_batch: int | None = None,
    reference_as_init: bool = False,
) -> "Draft":
    """Return the draft trained with token weights from loss gaps to a reference draft.

    A gap is the draft's loss minus the reference's; `weigh` maps gaps [N] to weights [N]. The
    reference is trained first, from the same init by the same loss. The ledger counts both.
    """
    from draftmark.training.loop import PreLossPass, train

    model = context.draft.model
    init = {name: value.clone() for name, value in model.state_dict().items()}
    # The reference trains in place, so that it generates its own on-policy text.
    first = train(context.before("reference", reference_passes, reference_rows_per_batch), loss)
    reference = replace(context.draft, model=copy.deepcopy(model).requires_grad_(False))
    if not reference_as_init:
        model.load_state_dict(init)
    draft = train(
        replace(context, spent=context.spent + first.ledger),
        loss,
        PreLossPass(loss, reference, weigh),
    )
    return replace(draft, ledger=first.ledger + draft.ledger)


def selection_weights(
    gap_N: "torch.Tensor",
    batch: "Batch",
    keep: float,
    choice: Choice = "gap",
    micro_batch: int | None = None,
    seed: int = 0,
) -> "torch.Tensor":
    """Return weights [N]: 1 for kept tokens, 0 for others; the first of equal gaps is kept.

    `micro_batch`: rows whose tokens are ranked together; None ranks all rows of a step.
    """
    match choice:
        case "gap":
            score_N = gap_N
        case "reversed":
            score_N = -gap_N
        case "random":
            score_N = _random_scores(gap_N, seed * 1_000_003 + batch.step)
    weights_N = gap_N.new_zeros(len(gap_N))
    num_rows = len(batch.example_ids)
    size = micro_batch or num_rows
    for number in range(math.ceil(num_rows / size)):
        tokens_M = (batch.rows_N // size == number).nonzero().squeeze(1)
        order_M = score_N[tokens_M].argsort(descending=True, stable=True)
        weights_N[tokens_M[order_M[: num_kept(len(tokens_M), keep)]]] = 1
    return weights_N


def num_kept(num_tokens: int, keep: float) -> int:
    """Return floor(keep (n - 1)) + 1: the tokens at or above the quantile of 1 - keep, ties aside.

    The number is at least 1, within 1 of keep n, and n for keep = 1. `keep` is exact as a decimal:
    0.57, not 0.56999...
    """
    return math.floor(Fraction(str(keep)) * (num_tokens - 1)) + 1


def _random_scores(gap_N: "torch.Tensor", seed: int) -> "torch.Tensor":
    """Return uniform scores [N], drawn on the CPU: the same on every device."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(gap_N), generator=generator).to(gap_N.device)
