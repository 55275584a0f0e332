"""The lossless rules: accept drafted tokens, and resample the next one from the residual.

Leviathan et al. (2023, arXiv 2211.17192, algorithm 1): a token x drafted from q is accepted with
probability min(1, p(x)/q(x)); the first rejected token is replaced by a draw from
norm(max(0, p - q)); after a fully accepted block a bonus token is drawn from p. The output has the
target's distribution p for every q. The rule covers temperature 0, where p and q are one-hot:
tokens are accepted while they equal the target's choice.

Block verification (Sun et al. 2025, arXiv 2403.10444, algorithm 2) decides about all tokens of the
block together: a token with q > p makes up for later ones with q < p. It is as lossless, and of all
such rules accepts the most tokens in a block on average. Both rules accept alike where q/p of the
target's tokens is at most 1 (a target at temperature 0), or 0 or at least 1 (a draft that is not
sampled).

Legend: p and q as in the paper, target and draft; N block, G drafted token, V vocabulary.
"""

from collections.abc import Callable, Mapping

import torch

from draftmark.models.sampling import draw_tokens
from draftmark.types import Verification

Rule = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, torch.Generator], tuple[torch.Tensor, torch.Tensor]
]


def verify_block(
    drafted_NG: torch.Tensor, q_NGV: torch.Tensor, p_NHV: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (numbers of accepted tokens [N], the tokens that follow them [N]).

    H is G + 1: the last row of p_NHV is the target's distribution after the whole block, from which
    the bonus token is drawn.
    """
    uniform_NG = torch.rand(drafted_NG.shape, generator=generator, dtype=torch.float64)
    q_NG = q_NGV.gather(-1, drafted_NG[..., None])[..., 0]
    p_NG = p_NHV[:, :-1].gather(-1, drafted_NG[..., None])[..., 0]
    accepted_N = (uniform_NG * q_NG < p_NG).long().cumprod(-1).sum(-1)
    rows_N = torch.arange(len(accepted_N))
    # No token was drafted at the bonus position: q is 0 there, and the residual is p.
    q_NHV = torch.cat([q_NGV, torch.zeros_like(p_NHV[:, :1])], dim=1)
    left_NV = residual_weights(p_NHV[rows_N, accepted_N], q_NHV[rows_N, accepted_N])
    return accepted_N, draw_tokens(left_NV, generator)


def residual_weights(p_NV: torch.Tensor, q_NV: torch.Tensor) -> torch.Tensor:
    """Return the residual max(0, p - q) [N, V], not normalised."""
    left_NV = (p_NV.double() - q_NV.double()).clamp(min=0)
    # Rounding can reject where p = q: then p is the limit of the residual.
    return torch.where(left_NV.sum(-1, keepdim=True) > 0, left_NV, p_NV.double())


def verify_jointly(
    drafted_NG: torch.Tensor, q_NGV: torch.Tensor, p_NHV: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `verify_block` returns, by block verification.

    Each prefix of the block passes or fails by itself; the longest one that passes is accepted,
    whatever happened to shorter ones.
    """
    uniform_NG = torch.rand(drafted_NG.shape, generator=generator, dtype=torch.float64)
    passing_NG, left_NHV = joint_rule(drafted_NG, q_NGV, p_NHV)
    passed_NH = torch.nn.functional.pad(uniform_NG < passing_NG, (1, 0), value=True)
    accepted_N = (passed_NH * torch.arange(passed_NH.shape[1])).amax(-1)
    return accepted_N, draw_tokens(left_NHV[torch.arange(len(accepted_N)), accepted_N], generator)


def joint_rule(
    drafted_NG: torch.Tensor, q_NGV: torch.Tensor, p_NHV: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (P(a prefix passes) [N, G], residuals after 0 ... G accepted tokens [N, H, V]).

    Equations 3 to 5 of the paper. weight_NH is its p_i, the probability that at least the first i
    tokens are accepted given the drafted ones: min(1, weight_(i-1) p/q). The residual after i
    tokens is max(0, weight_i p - q), not normalised. No token was drafted at the bonus position:
    there q is 0, the residual is p, and the last prefix passes with its weight.
    """
    p_NHV, q_NGV = p_NHV.double(), q_NGV.double()
    index_NG1 = drafted_NG[..., None]
    growth_NG = (p_NHV[:, :-1].gather(-1, index_NG1) / q_NGV.gather(-1, index_NG1))[..., 0]
    weight_NH = torch.ones(p_NHV.shape[:2], dtype=torch.float64)
    for depth in range(growth_NG.shape[1]):
        weight_NH[:, depth + 1] = (weight_NH[:, depth] * growth_NG[:, depth]).clamp(max=1)
    q_NHV = torch.cat([q_NGV, torch.zeros_like(p_NHV[:, :1])], dim=1)
    scaled_NHV = weight_NH[..., None] * p_NHV
    mass_NG = (scaled_NHV - q_NHV).clamp(min=0)[:, 1:].sum(-1)
    others_NG = 1 - weight_NH[:, 1:]
    # Without a residual and of weight 1, a prefix is followed by an accepted token.
    passing_NG = torch.where(mass_NG + others_NG > 0, mass_NG / (mass_NG + others_NG), 1.0)
    return passing_NG, residual_weights(scaled_NHV, q_NHV)


RULES: Mapping[Verification, Rule] = {"standard": verify_block, "block": verify_jointly}
