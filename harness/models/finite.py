"""Checks that what a model computes is finite, before anything of it is kept.

A NaN has no place in a result: it would make every mean NaN, and the largest of logits with a NaN
is the NaN, so that a broken model writes text and has an acceptance rate.
"""

import torch

from draftmark.errors import UserError


class NotFinite(UserError):
    """A model computed a NaN or an infinity."""


def check_states(states: torch.Tensor, example_id: str) -> None:
    """Raise NotFinite if hidden states [T, ..., D] of a text are not all finite."""
    _check(torch.isfinite(states).flatten(1).all(-1), "hidden states", example_id)


def check_logits(logits: torch.Tensor, example_id: str, whose: str = "the model's") -> None:
    """Raise NotFinite if a row of logits [N, V] has a NaN, +inf, or -inf alone.

    Single tokens may have -inf, such as those outside a draft vocabulary.
    """
    _check(torch.isfinite(logits.amax(-1)), "logits", example_id, whose)


def _check(finite_N: torch.Tensor, what: str, example_id: str, whose: str = "the model's") -> None:
    faulty = (~finite_N).nonzero()
    if len(faulty):
        raise NotFinite(
            f"{example_id}: {whose} {what} are not finite at {len(faulty)} of {len(finite_N)} "
            f"positions (first {int(faulty[0])}); its weights are faulty, or its dtype overflows."
        )
