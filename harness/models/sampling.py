"""Sampler probabilities, and draws from them.

Legend: V vocabulary.
"""

import math

import torch

from draftmark.types import Sampler


def sampler_probs(logits: torch.Tensor, sampler: Sampler) -> torch.Tensor:
    """Return the sampler probabilities [..., V] of logits [..., V]; one-hot at temperature 0."""
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
    """Keep the fewest likeliest tokens of mass `top_p` and renormalise (Holtzman et al. 2020)."""
    ordered, index = probs.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = torch.zeros_like(probs).scatter_(-1, index, ordered * (before < top_p))
    return kept / kept.sum(dim=-1, keepdim=True)


def draw_tokens(weights: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return a token [...] drawn from each distribution [..., V], which need not be normalised.

    Inverts the cumulative distribution in float64, so one uniform number gives one token.
    """
    cumulated = weights.double().cumsum(-1)
    uniform = torch.rand(weights.shape[:-1], generator=generator, dtype=torch.float64)[..., None]
    token = torch.searchsorted(cumulated, uniform * cumulated[..., -1:], right=True)
    last = cumulated.argmax(-1, keepdim=True)  # the last token of positive weight
    return torch.minimum(token, last)[..., 0]
