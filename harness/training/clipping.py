"""Clips the gradient of a step, which the processes of a training share."""

from collections.abc import Sequence

import torch

from draftmark.training.process_group import ProcessGroup
from draftmark.training.sharding import is_in_parts, own_part

_LEAST = 1e-6  # added to the norm, as torch clips


def clipped_norm(
    parameters: Sequence[torch.nn.Parameter], team: ProcessGroup, clip_norm: float
) -> float:
    """Sum the gradients over the processes and clip them; return the norm before clipping.

    FSDP2 has summed those of weights in parts.
    """
    own = [each for each in parameters if not is_in_parts(each)]
    team.sum_gradients(own)
    with_parts = [each for each in parameters if is_in_parts(each) and each.grad is not None]
    parts = [own_part(each.grad) for each in with_parts]
    norm = torch.nn.utils.get_total_norm([each.grad for each in own if each.grad is not None])
    if parts:
        squares = team.sum_values(float(torch.nn.utils.get_total_norm(parts)) ** 2)
        norm = (norm.double() ** 2 + squares).sqrt().float()
    if norm > clip_norm:
        torch.nn.utils.clip_grads_with_norm_(own, clip_norm, norm)
        for part in parts:
            part.mul_(clip_norm / (norm + _LEAST))
    return float(norm)
