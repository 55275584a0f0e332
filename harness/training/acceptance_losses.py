"""The LK losses: the acceptance of a drafted token as the objective.

Samarin et al. 2026, "LK Losses" (arXiv 2602.23881). The chance of acceptance is alpha = sum of
min(p, q), for the target's law p and the draft's q. A draft with a vocabulary of its own gives a
logit of -inf to each token outside it: min(p, 0) = 0, so nothing of p is changed for alpha and TV,
and only KL, which would be infinite, takes p renormalised to the draft's tokens (section 4.4).

Legend: N supervised position, V vocabulary.
"""

import torch

from draftmark.training.divergences import forward_kl, is_finite, log_probs, tvd


def negative_log_acceptance(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor
) -> torch.Tensor:
    """Return -log(alpha) [N]: cross entropy for a one-hot target; its gradient is TVD's / alpha.

    L_alpha of the paper. Summed in logarithms, so a draft far off still has its gradient: the code
    of speculators floors alpha at 1e-5 and that of SpecForge sets log 0 to 0, and both give no
    gradient there. Infinite where the laws share no token.
    """
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    return -torch.logsumexp(torch.minimum(log_p_NV, log_q_NV), dim=-1)


def acceptance(draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor) -> torch.Tensor:
    """Return alpha [N], without a gradient."""
    return 1 - tvd(draft_logits_NV, target_logits_NV).detach()


def adaptive_kl_tv(
    draft_logits_NV: torch.Tensor,
    target_logits_NV: torch.Tensor,
    eta: float = 3.0,
    alpha: float | None = None,
) -> torch.Tensor:
    """Return c KL(p || q) + (1 - c) TV(p, q) [N] for c = exp(-eta alpha), without a gradient.

    L_lambda of the paper (equations 4 and 5), with its eta of 3; a larger one leaves KL sooner.
    Alpha is a mean that is given (over the batch: the paper's, and SpecForge's code, with eta 1),
    or else each position's own (the code of speculators). Not a number where the target gives no
    token of the draft's vocabulary any chance.
    """
    tv_N = tvd(draft_logits_NV, target_logits_NV)
    alpha_N = 1 - tv_N.detach() if alpha is None else torch.full_like(tv_N, alpha)
    of_kl_N = torch.exp(-eta * alpha_N)
    if not is_finite(draft_logits_NV):  # a draft vocabulary: KL is of what both have
        target_logits_NV = target_logits_NV.masked_fill(draft_logits_NV.isneginf(), -torch.inf)
    return of_kl_N * forward_kl(draft_logits_NV, target_logits_NV) + (1 - of_kl_N) * tv_N
