"""Activation checkpointing: a layer keeps its input alone, and is computed again for its gradient.

Chen et al. 2016, arXiv 1604.06174. The numbers stay; a step computes one more forward pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


@contextmanager
def recomputed_layers(model: Any, *, wanted: bool) -> Iterator[None]:
    """Let the layers of a model keep only their inputs in passes of the block, if `wanted`.

    transformers' own switch works in training mode alone, where dropout of the family would start.
    """
    found = (each for each in model.modules() if isinstance(each, GradientCheckpointingLayer))
    layers = list(found) if wanted else []
    for layer in layers:
        layer.forward = partial(checkpoint, _in_this_mode(layer), use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _in_this_mode(layer: Any) -> Callable[..., Any]:
    """Return a layer's forward pass with its dropouts as they are now, also in a backward pass."""
    forward, active = layer.forward, [each for each in layer.modules() if each.training]

    def run(*inputs: Any, **options: Any) -> Any:
        before = [each.training for each in active]
        for each in active:
            each.training = True
        try:
            return forward(*inputs, **options)
        finally:
            for each, training in zip(active, before, strict=True):
                each.training = training

    return run
