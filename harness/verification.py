"""The lossless rule: accept, or resample from the residual.

Leviathan et al. (2023, arXiv 2211.17192, algorithm 1): a token x drafted from q is kept with
probability min(1, p(x)/q(x)); the first one that is not is replaced by a draw from
norm(max(0, p - q)); after a fully accepted block a bonus token is drawn from p. What comes out has
the target's law p whatever q is.

One rule serves every temperature: at 0 the laws are one-hot, and the same arithmetic says "keep
while equal". Legend: p and q as in the paper, target and draft; G drafted token, V vocabulary.
"""

import math
from collections.abc import Sequence

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


def draw(probs_V: torch.Tensor, generator: torch.Generator) -> int:
    """Return a token drawn from a law, which need not be normalised.

    By inverting the cumulated law in float64, so that one uniform number is one token.
    """
    cumulated_V = probs_V.double().cumsum(-1)
    uniform = torch.rand((), generator=generator, dtype=torch.float64)
    token = torch.searchsorted(cumulated_V, uniform * cumulated_V[-1], right=True)
    return min(int(token), int(cumulated_V.argmax()))  # the last token that has any weight


def verify(
    drafted: Sequence[int], q_GV: torch.Tensor, p_GV: torch.Tensor, generator: torch.Generator
) -> tuple[int, int]:
    """Return (how many drafted tokens are kept, the token that follows them).

    p_GV has one row more than q_GV: the target's law after the whole block, for the bonus token.
    """
    for depth, token in enumerate(drafted):
        p, q = float(p_GV[depth, token]), float(q_GV[depth, token])
        uniform = float(torch.rand((), generator=generator, dtype=torch.float64))
        if uniform * q >= p:
            return depth, draw(residual(p_GV[depth], q_GV[depth]), generator)
    return len(drafted), draw(p_GV[len(drafted)], generator)


def residual(p_V: torch.Tensor, q_V: torch.Tensor) -> torch.Tensor:
    """Return max(0, p - q), not normalised: what a rejected token is replaced by."""
    left_V = (p_V.double() - q_V.double()).clamp(min=0)
    # Rounding alone can reject where p = q: then p itself is the limit of the residual.
    return left_V if float(left_V.sum()) > 0 else p_V
