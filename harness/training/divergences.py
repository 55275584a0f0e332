"""Divergences of a draft's distribution q from the target's p: [N, V] logits in, [N] out.

Forward KL is KL(p || q), the mean under the target's distribution; reverse KL is KL(q || p). All
are in nats, in float32 (float64 for float64 logits), from log-probabilities, so tiny probabilities
keep their precision. A logit of -inf is a token of probability 0: it contributes nothing if p and q
both have 0, and infinity where the definition says so. Published code mostly zeroes such terms,
which hides a draft that can never be right.

The LK losses at the end optimise the acceptance probability alpha = sum of min(p, q) (Samarin et
al. 2026, "LK Losses", arXiv 2602.23881). Outside a draft vocabulary the draft's logits
are -inf: min(p, 0) = 0, so alpha and TV need no change of p; only KL, which would be infinite,
renormalises p to the draft vocabulary (section 4.4).

Legend: N supervised position, V vocabulary.
"""

import math
from collections.abc import Callable, Mapping

import torch

from draftmark.errors import UserError

Divergence = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def to_float32(logits_NV: torch.Tensor) -> torch.Tensor:
    """Return the logits in the dtype of losses: float32, or float64 for float64 logits."""
    return logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))


def is_finite(values: torch.Tensor) -> bool:
    """True if all values are finite. One reduction; cheaper than masking every element."""
    return math.isfinite(float(values.detach().sum()))


def log_probs(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor, temperature: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (log q, log p) [N, V] at `temperature`."""
    log_q_NV, log_p_NV = (
        torch.log_softmax(
            to_float32(logits_NV) / temperature if temperature != 1 else to_float32(logits_NV), -1
        )
        for logits_NV in (draft_logits_NV, target_logits_NV)
    )
    return log_q_NV, log_p_NV


def _kl(log_a_NV: torch.Tensor, log_b_NV: torch.Tensor, skew: float = 0.0) -> torch.Tensor:
    """Return sum of a log(a / m) [N] for m = skew a + (1 - skew) b; a and b may have any mass.

    Computed from the ratio b / a alone, as m / a = skew + (1 - skew) b / a: the ratio is finite
    wherever a is not zero, while m can round to zero.
    """
    a_NV = log_a_NV.exp()
    log_ratio_NV = log_b_NV - log_a_NV
    if not is_finite(log_ratio_NV):
        log_ratio_NV = torch.where(a_NV > 0, log_ratio_NV, 0.0)
    if skew:
        log_skew = log_ratio_NV.new_tensor(math.log(skew))
        log_ratio_NV = torch.logaddexp(log_ratio_NV + math.log1p(-skew), log_skew)
    return -(a_NV * log_ratio_NV).sum(-1)


def forward_kl(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Return KL(p || q) [N] at `temperature`, times temperature squared.

    The square keeps the gradient's size as the temperature grows (Hinton et al. 2015, arXiv
    1503.02531, section 2.1). At temperature 1 the gradient is q - p, like soft cross entropy's.
    """
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV, temperature)
    return _kl(log_p_NV, log_q_NV) * temperature**2


def soft_cross_entropy(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor
) -> torch.Tensor:
    """Return -sum p log q [N]: forward KL plus the target's entropy, with forward KL's gradient."""
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    p_NV = log_p_NV.exp()
    return -torch.where(p_NV > 0, p_NV * log_q_NV, 0.0).sum(-1)


def reverse_kl(draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor) -> torch.Tensor:
    """Return KL(q || p) [N], which seeks the target's modes (MiniLLM, arXiv 2306.08543).

    The exact sum over the vocabulary at each token. MiniLLM's own estimator is a policy gradient
    over whole texts; DistiLLM's code computes this sum.
    """
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    return _kl(log_q_NV, log_p_NV)


def jsd(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor, beta: float = 0.5
) -> torch.Tensor:
    """Return beta KL(p || m) + (1 - beta) KL(q || m) [N] for m = beta p + (1 - beta) q.

    GKD (Agarwal et al. 2023, arXiv 2306.13649). jsd / beta tends to forward KL as beta tends to 0,
    jsd / (1 - beta) to reverse KL as beta tends to 1; at 0 and 1 jsd is 0, where TRL's code returns
    the KLs. DistiLLM's `js_distance(lam)` is beta = 1 - lam; OSD's "jsd" is a weighted sum of both
    KLs, not a JSD. Raises UserError if beta is not within (0, 1).
    """
    if not 0 < beta < 1:
        raise UserError(
            f"jsd is not a divergence at beta {beta:g}; take a beta between 0 and 1, forward_kl "
            "for the limit at 0, or reverse_kl for the limit at 1."
        )
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    of_target_N = _kl(log_p_NV, log_q_NV, skew=beta)
    of_draft_N = _kl(log_q_NV, log_p_NV, skew=1 - beta)
    return beta * of_target_N + (1 - beta) * of_draft_N


def tvd(draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor) -> torch.Tensor:
    """Return the total variation distance [N], half the sum of |p - q|: P(rejection).

    DistillSpec's divergence for acceptance (Zhou et al. 2023, arXiv 2310.08461). The gradient is
    half of q (s - E_q s) for s = sign(q - p). DSpark's code omits the half.
    """
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    return _distance(log_q_NV.exp(), log_p_NV.exp())


def skew_kl(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor, skew: float = 0.1
) -> torch.Tensor:
    """Return KL(p || skew p + (1 - skew) q) [N]: forward KL at skew 0, at most -log(skew).

    SKL of DistiLLM (Ko et al. 2024, arXiv 2402.03898), where `skew` is alpha. DistiLLM's code omits
    the target's entropy, which changes the value but not the gradient. Raises UserError if the skew
    is not within [0, 1).
    """
    _check_skew(skew)
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    return _kl(log_p_NV, log_q_NV, skew)


def skew_reverse_kl(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor, skew: float = 0.1
) -> torch.Tensor:
    """Return KL(q || (1 - skew) p + skew q) [N]: reverse KL at skew 0, at most -log(skew).

    SRKL of DistiLLM (arXiv 2402.03898); the gradient flows through the draft inside the mixture,
    as in its code. Raises UserError if the skew is not within [0, 1).
    """
    _check_skew(skew)
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    return _kl(log_q_NV, log_p_NV, skew)


def akl(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor, head_mass: float = 0.5
) -> torch.Tensor:
    """Return h KL(p || q) + (1 - h) KL(q || p) [N] for the head's share h of sum |p - q|.

    Wu et al. 2024 (arXiv 2404.02657), AKL; `head_mass` is its mu. As in its code, the head is the
    target's likeliest tokens while their mass stays within `head_mass`, and always the first; the
    token that crosses the mass is in the tail, unlike in a top-p set. No gradient flows through h.
    Where p = q, h is 0 here and 0 / 0 in the code.
    """
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    head_N = _head_share(log_q_NV.detach().exp(), log_p_NV.detach().exp(), head_mass)
    return head_N * _kl(log_p_NV, log_q_NV) + (1 - head_N) * _kl(log_q_NV, log_p_NV)


def abkd(
    draft_logits_NV: torch.Tensor,
    target_logits_NV: torch.Tensor,
    alpha: float = 0.2,
    beta: float = 0.7,
) -> torch.Tensor:
    """Return the alpha-beta divergence [N] of ABKD (Wang et al. 2025, arXiv 2505.04560).

    -1 / (alpha beta) sum [p^alpha q^beta - alpha/(alpha+beta) p^(alpha+beta)
    - beta/(alpha+beta) q^(alpha+beta)], continued where alpha or beta is 0: forward KL at (1, 0),
    reverse KL at (0, 1), twice the sum of (sqrt p - sqrt q)^2 at (0.5, 0.5), half of (p - q)^2 at
    (1, 1). At alpha = 0 or beta = 0 this is the limit, which divides by the square of the other
    exponent (as CSD's copy of the code does); ABKD's code divides once. Raises UserError if an
    exponent is negative, where tokens of probability 0 make the sum infinite, or if both are 0.
    """
    if min(alpha, beta) < 0 or alpha + beta == 0:
        raise UserError(
            f"abkd does not take alpha {alpha:g} with beta {beta:g}; both must be at least 0 and "
            "one positive, as in the paper's 0.2 and 0.7."
        )
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    if beta == 0:
        return _mass_free_kl(alpha * log_p_NV, alpha * log_q_NV) / alpha**2
    if alpha == 0:
        return _mass_free_kl(beta * log_q_NV, beta * log_p_NV) / beta**2
    total = alpha + beta
    shared_N = (alpha * log_p_NV + beta * log_q_NV).exp().sum(-1)
    of_target_N = alpha / total * (total * log_p_NV).exp().sum(-1)
    of_draft_N = beta / total * (total * log_q_NV).exp().sum(-1)
    return (of_target_N + of_draft_N - shared_N) / (alpha * beta)


def cross_entropy(draft_logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """Return -log of the draft's probability of each label [N], in nats."""
    return torch.nn.functional.cross_entropy(draft_logits_NV.float(), labels_N, reduction="none")


def overlap(draft_probs_NV: torch.Tensor, target_probs_NV: torch.Tensor) -> torch.Tensor:
    """Return the sum of min(p, q) [N]: one minus the total variation distance, exactly 1 if p = q.

    The probability that a token drawn from the draft is accepted (Leviathan et al. 2023, arXiv
    2211.17192, theorem 3.5).
    """
    return 1 - _distance(draft_probs_NV, target_probs_NV)


def negative_log_acceptance(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor
) -> torch.Tensor:
    """Return -log(alpha) [N]: cross entropy for a one-hot target; its gradient is TVD's / alpha.

    L_alpha of LK Losses. The sum is computed in logarithms, so a draft far from the target keeps a
    gradient; speculators' floor of alpha at 1e-5 and SpecForge's log 0 = 0 make it zero. Infinite
    where p and q share no token.
    """
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    return -torch.logsumexp(torch.minimum(log_p_NV, log_q_NV), dim=-1)


def expected_acceptance(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor
) -> torch.Tensor:
    """Return alpha [N], without a gradient."""
    logits = (each.detach() for each in (draft_logits_NV, target_logits_NV))
    return overlap(*(to_float32(each_NV).softmax(-1) for each_NV in logits))


def adaptive_kl_tv(
    draft_logits_NV: torch.Tensor,
    target_logits_NV: torch.Tensor,
    eta: float = 3.0,
    alpha: float | None = None,
) -> torch.Tensor:
    """Return c KL(p || q) + (1 - c) TV(p, q) [N]; c = exp(-eta alpha) has no gradient.

    L_lambda of LK Losses (equations 4 and 5), with the paper's eta of 3; a larger eta leaves KL
    sooner. The paper, and SpecForge with eta 1, pass the batch's mean as `alpha`; by default each
    position has its own alpha, as in speculators. NaN where the target's probability of the whole
    draft vocabulary is 0.
    """
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    tv_N = _distance(log_q_NV.exp(), log_p_NV.exp())
    alpha_N = 1 - tv_N.detach() if alpha is None else torch.full_like(tv_N, alpha)
    weight_N = torch.exp(-eta * alpha_N)
    if not is_finite(draft_logits_NV):  # a draft vocabulary: KL over its tokens
        log_p_NV = log_p_NV.masked_fill(log_q_NV.isneginf(), -torch.inf).log_softmax(-1)
    return weight_N * _kl(log_p_NV, log_q_NV) + (1 - weight_N) * tv_N


DIVERGENCES: Mapping[str, Divergence] = {
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "jsd": jsd,
    "tvd": tvd,
    "skew_kl": skew_kl,
    "skew_reverse_kl": skew_reverse_kl,
    "akl": akl,
    "abkd": abkd,
}
"""Divergences by name, with the papers' settings, for methods that have a divergence as a knob."""


def _distance(draft_probs_NV: torch.Tensor, target_probs_NV: torch.Tensor) -> torch.Tensor:
    return (target_probs_NV - draft_probs_NV).abs().sum(-1) / 2


def _mass_free_kl(log_a_NV: torch.Tensor, log_b_NV: torch.Tensor) -> torch.Tensor:
    """Return sum of a log(a / b) - a + b [N]: KL of unnormalised a and b."""
    return _kl(log_a_NV, log_b_NV) - log_a_NV.exp().sum(-1) + log_b_NV.exp().sum(-1)


def _head_share(q_NV: torch.Tensor, p_NV: torch.Tensor, head_mass: float) -> torch.Tensor:
    """Return the head's share of sum |p - q| [N]; 0 where p = q."""
    sorted_p_NV, order_NV = p_NV.sort(dim=-1, descending=True)
    in_head_NV = sorted_p_NV.cumsum(-1) <= head_mass
    in_head_NV[:, 0] = True
    gap_NV = (sorted_p_NV - q_NV.gather(-1, order_NV)).abs()
    total_N = gap_NV.sum(-1).clamp_min(torch.finfo(gap_NV.dtype).tiny)
    return (gap_NV * in_head_NV).sum(-1) / total_N


def _check_skew(skew: float) -> None:
    if not 0 <= skew < 1:
        raise UserError(f"The skew must be at least 0 and below 1 (got {skew:g}).")
