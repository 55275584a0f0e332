"""Token losses by name for methods with a `loss` knob, and the weights of the logit losses.

With a draft vocabulary, draft logits are -inf outside it. The acceptance losses allow for that. The
other losses follow EAGLE-3's rule (`cnets.py` of https://github.com/SafeAILab/EAGLE at cb7e084):
the target distribution is restricted to the draft vocabulary and normalised, and the loss is 0 if
the target's most likely token is outside.

Legend: N supervised token, V vocabulary.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator

if TYPE_CHECKING:
    import torch

    from draftmark.training.batches import Batch
    from draftmark.training.divergences import Divergence
    from draftmark.training.loop import TokenLoss

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
LossName = Literal["cross_entropy"] | TokenLossName


def loss_by_name(name: LossName) -> "TokenLoss":
    """Return a token loss by name; "cross_entropy" is that of the text's token."""
    if name == "cross_entropy":
        return label_loss
    loss = token_loss(name)
    return lambda draft_NV, target_NV, _: loss(draft_NV, target_NV)


def label_loss(
    draft_NV: "torch.Tensor", target_NV: "torch.Tensor", batch: "Batch"
) -> "torch.Tensor":
    """Return -log q [N] of the text's own tokens."""
    from draftmark.training.divergences import cross_entropy

    return cross_entropy(draft_NV, batch.labels_N)


def token_loss(name: TokenLossName) -> "Divergence":
    """Return a token loss by name, with its paper's settings."""
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
    def restricted_N(draft_NV: "torch.Tensor", target_NV: "torch.Tensor") -> "torch.Tensor":
        import torch

        outside_NV = draft_NV.isneginf()
        first_N1 = target_NV.argmax(-1, keepdim=True)
        known_N = ~outside_NV.gather(-1, first_N1)[..., 0]
        loss_N = loss(draft_NV, target_NV.masked_fill(outside_NV, -torch.inf))
        return torch.where(known_N, loss_N, 0.0)

    return restricted_N


def _check_weight(weight: Any) -> Any:
    """Return a weight; raises ValueError for an unknown one."""
    if weight in ("target", "draft", "uniform"):
        return weight
    if isinstance(weight, float | int) and 0 <= weight <= 1:
        return weight
    raise ValueError(
        "must be 'target', 'draft', 'uniform', or the target's share of a mixture, 0 to 1"
    )


# A copy of `draftmark.training.logit_losses.Weight`, whose import would load torch.
Weight = Annotated[Literal["target", "draft", "uniform"] | float, BeforeValidator(_check_weight)]
