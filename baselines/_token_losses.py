"""The shared losses by name, for methods of which any may be the loss.

With a draft vocabulary the draft's logits are -inf outside it. The acceptance losses know that;
for all others the target's law is cut to the draft's tokens and normalised, and a token on which
the target's first choice is none of them counts nothing: EAGLE-3's rule (`cnets.py` of
https://github.com/SafeAILab/EAGLE at cb7e084).

Legend: N supervised token, V vocabulary.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from draftmark.training.divergences import Divergence

TokenLossName = Literal[
    "soft_cross_entropy",
    "forward_kl",
    "reverse_kl",
    "jsd",
    "tvd",
    "skew_kl",
    "skew_reverse_kl",
    "akl",
    "abkd",
    "csd",
    "dld",
    "adaptive_kl_tv",
    "negative_log_acceptance",
]


def token_loss(name: TokenLossName) -> "Divergence":
    """Return a loss by its name, each with its paper's own settings."""
    from draftmark.training.divergences import (
        DIVERGENCES,
        adaptive_kl_tv,
        negative_log_acceptance,
        soft_cross_entropy,
    )
    from draftmark.training.logit_losses import csd, dld

    if name == "adaptive_kl_tv":
        return adaptive_kl_tv
    if name == "negative_log_acceptance":
        return negative_log_acceptance
    others = {**DIVERGENCES, "soft_cross_entropy": soft_cross_entropy, "csd": csd, "dld": dld}
    return _within_draft_vocabulary(others[name])


def _within_draft_vocabulary(loss: "Divergence") -> "Divergence":
    def cut_N(draft_NV: "torch.Tensor", target_NV: "torch.Tensor") -> "torch.Tensor":
        import torch

        outside_NV = draft_NV.isneginf()
        first_N1 = target_NV.argmax(-1, keepdim=True)
        known_N = ~outside_NV.gather(-1, first_N1)[..., 0]
        loss_N = loss(draft_NV, target_NV.masked_fill(outside_NV, -torch.inf))
        return torch.where(known_N, loss_N, 0.0)

    return cut_N
