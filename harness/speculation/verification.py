"""The lossless rule: accept, or resample from the residual.

Leviathan et al. (2023, arXiv 2211.17192, algorithm 1): a token x drafted from q is kept with
probability min(1, p(x)/q(x)); the first one that is not is replaced by a draw from
norm(max(0, p - q)); after a fully accepted block a bonus token is drawn from p. What comes out has
the target's law p whatever q is.

One rule serves every temperature: at 0 the laws are one-hot, and the same arithmetic says "keep
while equal". Legend: p and q as in the paper, target and draft; N block, G drafted token,
V vocabulary.
"""

import torch

from draftmark.models.sampling import draw


def verify(
    drafted_NG: torch.Tensor, q_NGV: torch.Tensor, p_NHV: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (how many drafted tokens are kept [N], the token that follows them [N]).

    H is G + 1: p_NHV has one row more than q_NGV, the target's law after the whole block, of which
    the bonus token is drawn.
    """
    uniform_NG = torch.rand(drafted_NG.shape, generator=generator, dtype=torch.float64)
    q_NG = q_NGV.gather(-1, drafted_NG[..., None])[..., 0]
    p_NG = p_NHV[:, :-1].gather(-1, drafted_NG[..., None])[..., 0]
    accepted_N = (uniform_NG * q_NG < p_NG).long().cumprod(-1).sum(-1)
    rows_N = torch.arange(len(accepted_N))
    # Nothing was drafted where the bonus token stands: its residual is the whole law.
    q_NHV = torch.cat([q_NGV, torch.zeros_like(p_NHV[:, :1])], dim=1)
    left_NV = residual(p_NHV[rows_N, accepted_N], q_NHV[rows_N, accepted_N])
    return accepted_N, draw(left_NV, generator)


def residual(p_NV: torch.Tensor, q_NV: torch.Tensor) -> torch.Tensor:
    """Return max(0, p - q) [N, V], not normalised: what a rejected token is replaced by."""
    left_NV = (p_NV.double() - q_NV.double()).clamp(min=0)
    # Rounding alone can reject where p = q: then p itself is the limit of the residual.
    return torch.where(left_NV.sum(-1, keepdim=True) > 0, left_NV, p_NV.double())
