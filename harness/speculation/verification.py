"""The lossless rule: accept a drafted token, or resample from the residual.

Leviathan et al. (2023, arXiv 2211.17192, algorithm 1): a token x drafted from q is accepted with
probability min(1, p(x)/q(x)); the first rejected token is replaced by a draw from
norm(max(0, p - q)); after a fully accepted block a bonus token is drawn from p. The output has the
target's distribution p for every q. The rule covers temperature 0, where p and q are one-hot:
tokens are accepted while they equal the target's choice.

Legend: p and q as in the paper, target and draft; N block, G drafted token, V vocabulary.
"""

import torch

from draftmark.models.sampling import draw_tokens


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
