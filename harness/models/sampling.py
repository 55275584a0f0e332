"""Sampler probabilities, and draws from them.

Legend: V vocabulary.
"""

import math
from collections.abc import Sequence

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
    return invert_cumulative(weights, uniform_numbers(weights.shape[:-1], generator))


def uniform_numbers(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Return float64 numbers of a shape, uniform in [0, 1)."""
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def invert_cumulative(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Return the token [...] at which the cumulative weights [..., V] pass each uniform number."""
    cumulated = weights.double().cumsum(-1)
    reached = uniform[..., None] * cumulated[..., -1:]
    token = torch.searchsorted(cumulated, reached, right=True)
    last = cumulated.argmax(-1, keepdim=True)  # the last token of positive weight
    return torch.minimum(token, last)[..., 0]
