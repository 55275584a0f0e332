"""AdaSPEC's token selection (Hu et al. 2025, arXiv 2510.19779), for any draft and token loss.

A reference draft is trained first. The draft is then trained on the tokens whose loss exceeds the
reference's by most. `adaspec` does this for language models, the knob `keep` for heads.

Other selections keep tokens by the target alone, with no reference: where its distribution p has
the largest entropy, or the largest flatness (Fan et al. 2026, arXiv 2601.18902), the cosine between
p and the uniform distribution, which is 1 / (|p| sqrt V). AdaSPEC drops such tokens as too hard.
The authors' code (https://github.com/fjm9933/Flatness at c5b99b7) keeps whole texts, by the mean of
their tokens, and EAGLE heads; here tokens compete within a step, as AdaSPEC's do.

Legend: N supervised token, M tokens ranked together, V vocabulary.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from draftmark.models.language_model import LanguageModel
    from draftmark.training.batches import Batch
    from draftmark.training.context import Draft, TrainingContext
    from draftmark.training.loop import TokenLoss

    Weigh = Callable[[torch.Tensor, Batch], torch.Tensor]

Choice = Literal["gap", "reversed", "random", "entropy", "flatness"]
BY_TARGET: tuple[Choice, ...] = ("entropy", "flatness")  # need no reference


def train_selected(
    context: "TrainingContext", loss: "TokenLoss", keep: float, choice: Choice
) -> "Draft":
    """Return the draft trained on the share `keep` of each step's tokens; 1 is plain training."""
    from draftmark.training.loop import train

    def weigh(values_N: "torch.Tensor", batch: "Batch") -> "torch.Tensor":
        return selection_weights(values_N, batch, keep, choice, seed=context.seed)

    if keep == 1:
        return train(context, loss)
    if choice in BY_TARGET:
        return train_on_target_scores(context, loss, weigh, choice)
    return train_on_gaps(context, loss, weigh)


def train_on_gaps(
    context: "TrainingContext",
    loss: "TokenLoss",
    weigh: "Weigh",
    *,
    reference_passes: float | None = None,
    reference_rows_per_batch: int | None = None,
    reference_as_init: bool = False,
    reference_refresh: int | None = None,
) -> "Draft":
    """Return the draft trained with token weights from loss gaps to a reference draft.

    A gap is the draft's loss minus the reference's; `weigh` maps gaps [N] to weights [N]. The
    reference is trained first, from the same init by the same loss. The ledger counts both.
    """
    from draftmark.training.loop import train

    model = context.draft.model
    init = {name: value.clone() for name, value in model.state_dict().items()}
    # The reference trains in place, so that it generates its own on-policy text.
    first = train(context.before("reference", reference_passes, reference_rows_per_batch), loss)
    reference = _copy(context.draft)
    if not reference_as_init:
        model.load_state_dict(init)
    second = replace(context, spent=context.spent + first.ledger)
    draft = _train_against(second, loss, weigh, reference, reference_refresh)
    return replace(draft, ledger=first.ledger + draft.ledger)


def train_on_progress(
    context: "TrainingContext", loss: "TokenLoss", weigh: "Weigh", refresh: int
) -> "Draft":
    """Return the draft trained with token weights from its loss gaps to its own past.

    The reference is the draft as it was at the last multiple of `refresh` steps.
    """
    return _train_against(context, loss, weigh, _copy(context.draft), refresh)


def train_on_target_scores(
    context: "TrainingContext", loss: "TokenLoss", weigh: "Weigh", choice: Choice
) -> "Draft":
    """Return the draft trained with token weights from the target's entropy or flatness."""
    from draftmark.training.loop import PreLossPass, train

    score = target_entropy if choice == "entropy" else target_flatness
    return train(context, loss, PreLossPass(lambda _, target, __: score(target), weigh=weigh))


def _train_against(
    context: "TrainingContext",
    loss: "TokenLoss",
    weigh: "Weigh",
    reference: "LanguageModel",
    refresh: int | None,
) -> "Draft":
    from draftmark.training.loop import PreLossPass, train
    from draftmark.training.moving_reference import MovingReference

    prepare = MovingReference(context, reference, refresh).prepare if refresh else None
    return train(context, loss, PreLossPass(loss, reference, weigh, prepare))


def _copy(draft: "LanguageModel") -> "LanguageModel":
    return replace(draft, model=copy.deepcopy(draft.model).requires_grad_(False))


def target_entropy(target_NV: "torch.Tensor") -> "torch.Tensor":
    """Return the entropy [N], in nats, of the target's distribution at temperature 1."""
    log_p_NV = target_NV.log_softmax(-1)
    # A logit of -inf has probability 0, and 0 log 0 is 0.
    return -(log_p_NV.exp() * log_p_NV.masked_fill(log_p_NV.isneginf(), 0)).sum(-1)


def target_flatness(target_NV: "torch.Tensor") -> "torch.Tensor":
    """Return the cosine [N] between the target's distribution and the uniform distribution."""
    norm_N: torch.Tensor = target_NV.softmax(-1).norm(dim=-1)
    return 1 / (norm_N * math.sqrt(target_NV.shape[-1]))


def selection_weights(
    values_N: "torch.Tensor",
    batch: "Batch",
    keep: float,
    choice: Choice = "gap",
    micro_batch: int | None = None,
    seed: int = 0,
) -> "torch.Tensor":
    """Return weights [N]: 1 for kept tokens, 0 for others; the first of equal values is kept.

    The values are loss gaps, or the target's entropy or flatness. `micro_batch`: rows whose tokens
    are ranked together; None ranks all rows of a step.
    """
    match choice:
        case "gap" | "entropy" | "flatness":
            score_N = values_N
        case "reversed":
            score_N = -values_N
        case "random":
            score_N = _random_scores(values_N, seed * 1_000_003 + batch.step)
    weights_N = values_N.new_zeros(len(values_N))
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
