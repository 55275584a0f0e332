"""The gradient of one step, in memory that does not grow with positions x vocabulary.

Positions are gathered before the head, and head and loss run in chunks of positions with their own
backward pass. Compute is in the pair's dtype, the loss in float32.

Legend: N supervised token, D hidden size, V vocabulary; of a draft that reads a token at K depths,
states are [N, K, D] and logits [N, K, V].
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from harness.batches import Batch, Lesson
from harness.models import LanguageModel
from harness.readings import read

if TYPE_CHECKING:
    from harness.training import TokenLoss, TrainingContext, Weighing

CHUNK = 1024  # supervised positions that go through head and loss at once


def backward(
    context: TrainingContext,
    lesson: Lesson,
    step: int,
    token_loss: TokenLoss,
    weighing: Weighing | None = None,
) -> float:
    """Add the gradient of the mean loss over the supervised tokens, by weight; return that mean."""
    draft = context.draft
    batch = Batch.of(lesson.texts, step, context.num_steps, draft.device)
    hidden_ND = _hidden(context, draft, lesson, step)
    # The head's graph ends here: each chunk frees its logits before the next makes its own.
    leaf_ND = hidden_ND.detach().requires_grad_()
    weights_N = torch.ones(len(leaf_ND), device=draft.device)
    if weighing is not None:
        gap_N = _gap(context, lesson, batch, token_loss, weighing.reference, leaf_ND)
        weights_N = weighing.weigh(gap_N, batch)
    weight = float(weights_N.sum())
    total = 0.0
    for part in _chunks(leaf_ND):
        with autocast(context):
            draft_logits_NV = draft.logits(leaf_ND[part])
            target_logits_NV = _target_logits(context, lesson.hidden_ND[part])
        states = leaf_ND[part], lesson.hidden_ND[part]
        told = replace(batch.part(part), states=states)
        loss_N = token_loss(draft_logits_NV, target_logits_NV, told)
        loss = (loss_N * weights_N[part]).sum() / weight
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        total += float(loss.detach())
    hidden_ND.backward(leaf_ND.grad)  # type: ignore[no-untyped-call]
    return total


@torch.no_grad()
def _gap(
    context: TrainingContext,
    lesson: Lesson,
    batch: Batch,
    token_loss: TokenLoss,
    reference: LanguageModel,
    hidden_ND: torch.Tensor,
) -> torch.Tensor:
    """Return the draft's loss, of its hidden states, less the reference's [N]."""
    reference_ND = _hidden(context, reference, lesson, batch.step)
    gaps = []
    for part in _chunks(hidden_ND):
        with autocast(context):
            target_logits_NV = _target_logits(context, lesson.hidden_ND[part])
            read_by = (context.draft, hidden_ND[part]), (reference, reference_ND[part])
            logits = [model.logits(states_ND) for model, states_ND in read_by]
        told = [
            replace(batch.part(part), states=(states_ND, lesson.hidden_ND[part]))
            for _, states_ND in read_by
        ]
        of_draft_N, of_reference_N = (
            token_loss(logits_NV, target_logits_NV, about)
            for logits_NV, about in zip(logits, told, strict=True)
        )
        gaps.append(of_draft_N - of_reference_N)
    return torch.cat(gaps)


def _hidden(
    context: TrainingContext, model: LanguageModel, lesson: Lesson, step: int
) -> torch.Tensor:
    """Return a model's states of the supervised tokens: [N, D], of a feature head [N, K, D]."""
    with autocast(context):
        return read(model, lesson, step)


def _chunks(states_ND: torch.Tensor) -> Iterator[slice]:
    size = max(1, CHUNK // math.prod(states_ND.shape[1:-1]))  # depths count as positions
    return (slice(start, start + size) for start in range(0, len(states_ND), size))


@torch.no_grad()
def _target_logits(context: TrainingContext, hidden_ND: torch.Tensor) -> torch.Tensor:
    target = context.target
    if target is None:
        return hidden_ND.new_empty(len(hidden_ND), 0)
    return target.logits(hidden_ND.to(target.device, target.model.dtype))


def autocast(context: TrainingContext) -> Any:
    """Return what makes a block compute in the pair's dtype."""
    dtype = getattr(torch, context.dtype)
    device = context.draft.device.type
    return torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32)
