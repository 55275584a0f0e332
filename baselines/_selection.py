"""AdaSPEC's selection: train a reference, then the draft on the tokens where it has most to gain.

Hu et al. 2025 (arXiv 2510.19779), for any draft and any loss: `adaspec` is it with language models,
and feature heads take it as a knob.

Legend: N supervised token.
"""

import copy
import math
from collections.abc import Callable, Iterator
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
    """Return the draft trained on what `weigh` makes of its loss less a reference's.

    The reference is trained first, from the same init by the same loss; the ledger has both.
    """
    from draftmark.training.loop import PreLossPass, train

    model = context.draft.model
    init = {name: value.clone() for name, value in model.state_dict().items()}
    # In place, as texts that the draft writes are the reference's own while it is trained.
    own = context.before("reference", reference_passes, reference_rows_per_batch)
    first = train(own, loss)
    reference = replace(context.draft, model=copy.deepcopy(model).requires_grad_(False))
    if not reference_as_init:
        model.load_state_dict(init)
    context = replace(context, spent=context.spent + first.ledger)
    made = train(context, loss, PreLossPass(loss, reference, weigh))
    return replace(made, ledger=first.ledger + made.ledger)


def kept(
    gap_N: "torch.Tensor",
    batch: "Batch",
    keep: float,
    choice: Choice = "gap",
    micro_batch: int | None = None,
    seed: int = 0,
) -> "torch.Tensor":
    """Return 1 for each token that is kept and 0 for the others [N].

    `micro_batch`: how many rows are ranked together; by default all of a step.
    """
    match choice:
        case "gap":
            score_N = gap_N
        case "reversed":
            score_N = -gap_N
        case "random":
            score_N = _drawn(gap_N, seed * 1_000_003 + batch.step)
    weights_N = gap_N.new_zeros(len(gap_N))
    for together_M in _ranked_together(batch, micro_batch):
        order_M = score_N[together_M].argsort(descending=True, stable=True)
        weights_N[together_M[order_M[: num_kept(len(together_M), keep)]]] = 1
    return weights_N


def _ranked_together(batch: "Batch", micro_batch: int | None) -> "Iterator[torch.Tensor]":
    """Yield the indices of the tokens of each micro-batch."""
    num_rows = len(batch.example_ids)
    size = micro_batch or num_rows
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
