"""Losses on logits instead of probabilities: direct logit and concrete score distillation.

Both are of Kim et al. 2025, "Distillation of Large Language Models via Concrete Score Matching"
(arXiv 2509.25837). Let D = z - t, the draft's logits minus the target's, and w a distribution over
the vocabulary without gradient. DLD is half the mean of D squared under w, CSD half the variance of
D: like softmax, CSD ignores a constant added to the logits, and DLD does not. A token whose logit
is -inf in both models contributes 0; if it is -inf in one model only, both losses are infinite.

Legend: N supervised position, V vocabulary.
"""

from typing import Literal

import torch

from draftmark.errors import UserError, unknown_name_error
from draftmark.training.divergences import is_finite, to_float32

Weight = Literal["target", "draft", "uniform"] | float
"""Whose distribution weighs the vocabulary; a number is the target's share of a mixture with the
draft's (CSD's code: `CSD_TS_mix`)."""


def dld(
    draft_logits_NV: torch.Tensor,
    target_logits_NV: torch.Tensor,
    weight: Weight = "target",
    normalisation: Literal["none", "mean"] = "none",
    weight_temperature: float = 1.0,
) -> torch.Tensor:
    """Return half of the sum of w D^2 [N]; "mean" centres the logits of each model first.

    DLD of CSD's ablation (arXiv 2509.25837, table 5). The code at c77a3a7 (`dld_ablation`) has a
    quarter; with a half, CSD with two uniform weights is exactly mean-centred uniform DLD. Raises
    UserError for an unknown weight or normalisation.
    """
    draft_NV, target_NV = to_float32(draft_logits_NV), to_float32(target_logits_NV)
    residual_NV = _residual(draft_NV, target_NV)
    if normalisation == "mean":
        uniform_NV = _weight_probs("uniform", draft_NV, target_NV, 1.0)
        residual_NV = residual_NV - (uniform_NV * residual_NV).sum(-1, keepdim=True)
    elif normalisation != "none":
        raise unknown_name_error("normalisation", normalisation, ("none", "mean"))
    w_NV = _weight_probs(weight, draft_NV, target_NV, weight_temperature)
    return (w_NV * residual_NV.square()).sum(-1) / 2


def csd(
    draft_logits_NV: torch.Tensor,
    target_logits_NV: torch.Tensor,
    weights: tuple[Weight, Weight] = ("draft", "draft"),
    weight_temperature: float = 1.0,
) -> torch.Tensor:
    """Return a quarter of the sum over x, y of w1(x) w2(y) (D_x - D_y)^2 [N], at cost V.

    Computed as (E1[D^2] + E2[D^2]) / 4 - E1[D] E2[D] / 2, with the gradient
    (w1 (D - E2[D]) + w2 (D - E1[D])) / 2 of the authors' code at c77a3a7. The paper has a half
    instead of the quarter, so twice the gradient; the code's value is not a loss, it only carries
    the gradient. `weight_temperature` softens w1 and w2, never D; the code softens only two "draft"
    weights. Two "draft" weights at temperature 1 have exactly the gradient of reverse KL. Raises
    UserError for an unknown weight.
    """
    draft_NV, target_NV = to_float32(draft_logits_NV), to_float32(target_logits_NV)
    by_name = {w: _weight_probs(w, draft_NV, target_NV, weight_temperature) for w in set(weights)}
    w1_NV, w2_NV = (by_name[w] for w in weights)
    residual_NV = _residual(draft_NV, target_NV)
    # A constant does not change the value; subtracting the mean avoids cancellation.
    residual_NV = residual_NV - (w1_NV * residual_NV).sum(-1, keepdim=True).detach()
    squares_N = ((w1_NV + w2_NV) * residual_NV.square()).sum(-1)
    return squares_N / 4 - (w1_NV * residual_NV).sum(-1) * (w2_NV * residual_NV).sum(-1) / 2


def _residual(draft_NV: torch.Tensor, target_NV: torch.Tensor) -> torch.Tensor:
    """Return D [N, V]; 0 for tokens whose logit is -inf in both models."""
    residual_NV = draft_NV - target_NV
    if is_finite(residual_NV):
        return residual_NV
    return torch.where(draft_NV.isneginf() & target_NV.isneginf(), 0.0, residual_NV)


@torch.no_grad()
def _weight_probs(
    weight: Weight, draft_NV: torch.Tensor, target_NV: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the distribution [N, V] of a weight, without a gradient."""
    match weight:
        case "draft":
            return torch.softmax(draft_NV / temperature, dim=-1)
        case "target":
            return torch.softmax(target_NV / temperature, dim=-1)
        case "uniform":
            return torch.softmax(torch.where(target_NV.isneginf(), target_NV, 0.0), dim=-1)
        case float() | int() if 0 <= weight <= 1:
            p_NV = torch.softmax(target_NV / temperature, dim=-1)
            return torch.lerp(torch.softmax(draft_NV / temperature, dim=-1), p_NV, weight)
        case str():
            raise unknown_name_error("weight", weight, ("target", "draft", "uniform"))
        case _:
            raise UserError(f"A numeric weight must be between 0 and 1 (got {weight:g}).")
