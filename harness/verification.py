"""The lossless rule: accept, or resample from the residual.

Leviathan et al. (2023, arXiv 2211.17192, algorithm 1): a token x drafted from q is kept with
probability min(1, p(x)/q(x)); the first one that is not is replaced by a draw from
norm(max(0, p - q)); after a fully accepted block a bonus token is drawn from p. What comes out has
the target's law p whatever q is.

One rule serves every temperature: at 0 the laws are one-hot, and the same arithmetic says "keep
while equal". Legend: p and q as in the paper, target and draft; N block, G drafted token,
V vocabulary.
"""

import math

import torch

from harness.types import Sampler


def warp(logits: torch.Tensor, sampler: Sampler) -> torch.Tensor:
    """Return the law [..., V] that a sampler draws from; one-hot at temperature 0."""
    if sampler.temperature == 0:
        best = logits.argmax(dim=-1, keepdim=True)
        return torch.zeros_like(logits, dtype=torch.float32).scatter_(-1, best, 1.0)
    scaled = logits.float() / sampler.temperature
    if 0 < sampler.top_k < scaled.shape[-1]:
        least = scaled.topk(sampler.top_k, dim=-1).values[..., -1:]
        scaled = scaled.masked_fill(scaled < least, -math.inf)
    probs = torch.softmax(scaled, dim=-1)
    return _nucleus(probs, sampler.top_p) if sampler.top_p < 1 else probs


def _nucleus(probs: torch.Tensor, top_p: float) -> torch.Tensor:
    """Return the fewest likeliest tokens that hold `top_p` together (Holtzman et al. 2020)."""
    ordered, index = probs.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = torch.zeros_like(probs).scatter_(-1, index, ordered * (before < top_p))
    return kept / kept.sum(dim=-1, keepdim=True)


def draw(weights: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return a token [...] drawn from each of some laws [..., V], which need not be normalised.

    By inverting the cumulated law in float64, so that one uniform number is one token.
    """
    cumulated = weights.double().cumsum(-1)
    uniform = torch.rand(weights.shape[:-1], generator=generator, dtype=torch.float64)[..., None]
    token = torch.searchsorted(cumulated, uniform * cumulated[..., -1:], right=True)
    last = cumulated.argmax(-1, keepdim=True)  # the last token that has any weight
    return torch.minimum(token, last)[..., 0]


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
