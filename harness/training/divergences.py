"""Divergences of a draft's law q from its target's law p, per token: [N, V] logits in, [N] out.

Forward KL is KL(p || q), the mean over the target's law; reverse KL is KL(q || p). All in nats, in
float32 (float64 for float64 logits), from log-probabilities, so that no tiny probability is lost. A
logit of -inf is a token of probability 0: where both laws have none it adds nothing, and where the
definition says infinity so does the value; published code mostly zeroes such terms instead, which
hides a draft that can never be right.

Legend: N supervised position, V vocabulary.
"""

import math
from collections.abc import Callable, Mapping

import torch

from draftmark.errors import UserError

Divergence = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def to_float32(logits_NV: torch.Tensor) -> torch.Tensor:
    """Return the logits in the dtype that losses are computed in: float32, float64 if they are."""
    return logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))


def is_finite(values: torch.Tensor) -> bool:
    """Say whether no value is infinite or none: one sum, where to mend each would cost far more."""
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
    """Return sum of a log(a / m) [N] for m = skew a + (1 - skew) b, of measures of any mass.

    From the ratio b / a alone, as m / a = skew + (1 - skew) b / a: it is finite wherever a is not
    zero, while m itself can round to zero.
    """
    a_NV = log_a_NV.exp()
    log_ratio_NV = log_b_NV - log_a_NV
    if not is_finite(log_ratio_NV):
        log_ratio_NV = torch.where(a_NV > 0, log_ratio_NV, 0.0)
    if skew:
        of_a = log_ratio_NV.new_tensor(math.log(skew))
        log_ratio_NV = torch.logaddexp(log_ratio_NV + math.log1p(-skew), of_a)
    return -(a_NV * log_ratio_NV).sum(-1)


def forward_kl(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Return KL(p || q) [N] of the laws at `temperature`, times temperature squared.

    The square keeps the gradient's size as the temperature grows (Hinton et al. 2015, arXiv
    1503.02531, section 2.1). At temperature 1 it is q - p, as that of soft cross entropy.
    """
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV, temperature)
    return _kl(log_p_NV, log_q_NV) * temperature**2


def soft_cross_entropy(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor
) -> torch.Tensor:
    """Return -sum p log q [N]: forward KL and the target's entropy, so forward KL's gradient."""
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

    GKD (Agarwal et al. 2023, arXiv 2306.13649). Over beta it tends to forward KL as beta
    tends to 0, over 1 - beta to reverse KL as beta tends to 1; at both ends it is 0 itself. TRL's
    code returns the KLs at 0 and 1 instead; DistiLLM's `js_distance(lam)` is beta = 1 - lam; OSD's
    "jsd" is a weighted sum of both KLs and no JSD. Raises UserError if beta is not within (0, 1).
    """
    if not 0 < beta < 1:
        raise UserError(
            f"jsd is no divergence at beta {beta:g}; take one between 0 and 1, forward_kl as the "
            "limit at 0, or reverse_kl as that at 1."
        )
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    of_target_N = _kl(log_p_NV, log_q_NV, skew=beta)
    of_draft_N = _kl(log_q_NV, log_p_NV, skew=1 - beta)
    return beta * of_target_N + (1 - beta) * of_draft_N


def tvd(draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor) -> torch.Tensor:
    """Return the total variation distance, half the sum of |p - q| [N]: the chance of rejection.

    DistillSpec's divergence for acceptance (Zhou et al. 2023, arXiv 2310.08461). Its gradient is
    half of q (s - E_q s) for s = sign(q - p). DSpark's code takes the sum without the half.
    """
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    return _distance(log_q_NV.exp(), log_p_NV.exp())


def skew_kl(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor, skew: float = 0.1
) -> torch.Tensor:
    """Return KL(p || skew p + (1 - skew) q) [N]: forward KL at skew 0, at most -log(skew).

    SKL of DistiLLM (Ko et al. 2024, arXiv 2402.03898), whose alpha this is. Its code leaves out
    the target's entropy: other values, the same gradient. Raises UserError if the skew is not
    within [0, 1).
    """
    _check_skew(skew)
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    return _kl(log_p_NV, log_q_NV, skew)


def skew_reverse_kl(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor, skew: float = 0.1
) -> torch.Tensor:
    """Return KL(q || (1 - skew) p + skew q) [N]: reverse KL at skew 0, at most -log(skew).

    SRKL of DistiLLM (arXiv 2402.03898); the draft inside the mixture is differentiated
    as in its code. Raises UserError if the skew is not within [0, 1).
    """
    _check_skew(skew)
    log_q_NV, log_p_NV = log_probs(draft_logits_NV, target_logits_NV)
    return _kl(log_q_NV, log_p_NV, skew)


def akl(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor, head_mass: float = 0.5
) -> torch.Tensor:
    """Return h KL(p || q) + (1 - h) KL(q || p) [N], h the head's share of sum |p - q|.

    Wu et al. 2024 (arXiv 2404.02657), AKL; `head_mass` is its mu. The head is that of its code: the
    target's likeliest tokens while their mass together stays within `head_mass`, and always the
    first, so the token that crosses it is in the tail, other than in a top-p set. No gradient flows
    through h, as in the code, which divides 0 by 0 where the laws agree.
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
    (1, 1). At alpha = 0 or beta = 0 ABKD's code divides once by the other exponent where the limit
    (and CSD's copy of the code) divides by its square; this is the limit. Raises UserError if an
    exponent is negative, where the sum has no bound over the tokens of no mass, or both are 0.
    """
    if min(alpha, beta) < 0 or alpha + beta == 0:
        raise UserError(
            f"abkd does not take alpha {alpha:g} with beta {beta:g}; both must be at least 0 and "
            "one above it, as in the paper's 0.2 and 0.7."
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
    """Return the sum of min(p, q) [N]: one minus the total variation distance, exactly 1 if p is q.

    It is the chance that a token drawn from the draft's law is accepted (Leviathan et al. 2023,
    arXiv 2211.17192, theorem 3.5).
    """
    return 1 - _distance(draft_probs_NV, target_probs_NV)


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
"""By name, for a method whose divergence is a knob; each with its paper's own settings."""


def _distance(draft_probs_NV: torch.Tensor, target_probs_NV: torch.Tensor) -> torch.Tensor:
    return (target_probs_NV - draft_probs_NV).abs().sum(-1) / 2


def _mass_free_kl(log_a_NV: torch.Tensor, log_b_NV: torch.Tensor) -> torch.Tensor:
    """Return sum of a log(a / b) - a + b [N]: KL of measures whose masses differ."""
    return _kl(log_a_NV, log_b_NV) - log_a_NV.exp().sum(-1) + log_b_NV.exp().sum(-1)


def _head_share(q_NV: torch.Tensor, p_NV: torch.Tensor, head_mass: float) -> torch.Tensor:
    """Return the head's share of sum |p - q| [N]; 0 where the laws agree."""
    sorted_p_NV, order_NV = p_NV.sort(dim=-1, descending=True)
    in_head_NV = sorted_p_NV.cumsum(-1) <= head_mass
    in_head_NV[:, 0] = True
    gap_NV = (sorted_p_NV - q_NV.gather(-1, order_NV)).abs()
    total_N = gap_NV.sum(-1).clamp_min(torch.finfo(gap_NV.dtype).tiny)
    return (gap_NV * in_head_NV).sum(-1) / total_N


def _check_skew(skew: float) -> None:
    if not 0 <= skew < 1:
        raise UserError(f"A skew of {skew:g} makes no mixture; take one from 0 to below 1.")
