"""The gradient of one step, in memory that does not grow with positions x vocabulary.

Positions are gathered before the head; head and loss run in chunks of positions, each with its own
backward pass. Models compute in the pair's dtype, losses in float32.

Legend: N supervised token, D hidden size, V vocabulary. A draft that reads a token at K depths has
states [N, K, D] and logits [N, K, V].
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import torch

from draftmark.errors import UserError
from draftmark.models.language_model import LanguageModel
from draftmark.training.batches import Batch, TrainingBatch
from draftmark.training.context import PreLossPass, TokenLoss, TrainingContext
from draftmark.training.divergences import to_float32
from draftmark.training.flops import CHUNK_LOGITS
from draftmark.training.head_training import read_batch

ALL = slice(None)


def backward_in_chunks(
    context: TrainingContext,
    training_batch: TrainingBatch,
    batch: Batch,
    token_loss: TokenLoss,
    pre_loss_pass: PreLossPass | None = None,
    mine: slice = ALL,
) -> float:
    """Accumulate this process's share of the gradient of the mean loss; return its loss share.

    `batch` is the batch of the whole step; `mine` selects the tokens of `training_batch` from it.
    """
    draft = context.draft
    hidden_ND = _hidden(context, draft, training_batch, batch.step)
    # The head's graph ends here, so each chunk frees its logits before the next chunk.
    leaf_ND = hidden_ND.detach().requires_grad_()
    weights_N = torch.ones(len(batch.labels_N), device=draft.device)
    if pre_loss_pass is not None:
        own_N = _measure(context, training_batch, batch.part(mine), pre_loss_pass, leaf_ND)
        values_N = context.team.gather_tokens(own_N)
        batch = replace(batch, pre_loss_mean=float(values_N.mean()))
        weights_N = pre_loss_pass.weigh(values_N, batch) if pre_loss_pass.weigh else weights_N
    weight, weights_N, batch = float(weights_N.sum()), weights_N[mine], batch.part(mine)
    total = 0.0
    for part in _chunks(leaf_ND, draft.vocab_size):
        with autocast(context):
            draft_logits_NV = to_float32(draft.logits(leaf_ND[part]))
            target_logits_NV = to_float32(_target_logits(context, training_batch.hidden_ND[part]))
        chunk = replace(batch.part(part), states=(leaf_ND[part], training_batch.hidden_ND[part]))
        loss_N = check_per_token_loss(token_loss(draft_logits_NV, target_logits_NV, chunk), chunk)
        loss = (loss_N * weights_N[part]).sum() / weight
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        total += float(loss.detach())
    if training_batch.texts:
        hidden_ND.backward(leaf_ND.grad)  # type: ignore[no-untyped-call]
    return total


def check_per_token_loss(loss_N: Any, batch: Batch) -> torch.Tensor:
    """Return a loss; raises UserError unless it has shape [N] and a gradient.

    A shape that broadcasts to [N] would silently train on a wrong loss.
    """
    shape = tuple(loss_N.shape) if isinstance(loss_N, torch.Tensor) else type(loss_N).__name__
    if shape != (len(batch.labels_N),):
        raise UserError(
            f"The loss of {len(batch.labels_N)} tokens is {shape}, not one number for each token; "
            f"return a tensor of shape ({len(batch.labels_N)},), summed over the vocabulary."
        )
    if not loss_N.requires_grad:
        raise UserError(
            "The loss has no gradient; compute it from the draft's logits, without detach, item "
            "or no_grad."
        )
    return cast(torch.Tensor, loss_N)


@torch.no_grad()
def _measure(
    context: TrainingContext,
    training_batch: TrainingBatch,
    batch: Batch,
    pre_loss_pass: PreLossPass,
    hidden_ND: torch.Tensor,
) -> torch.Tensor:
    """Return the values [N] that a PreLossPass measures on this process's tokens."""
    readers = [(context.draft, hidden_ND)]
    if pre_loss_pass.reference is not None:
        reference_ND = _hidden(context, pre_loss_pass.reference, training_batch, batch.step)
        readers.append((pre_loss_pass.reference, reference_ND))
    values = [hidden_ND.new_empty(0)]
    for part in _chunks(hidden_ND, context.draft.vocab_size):
        with autocast(context):
            target_logits_NV = to_float32(_target_logits(context, training_batch.hidden_ND[part]))
            logits = [to_float32(model.logits(states_ND[part])) for model, states_ND in readers]
        draft_N, *reference = (
            pre_loss_pass.measure(
                logits_NV,
                target_logits_NV,
                replace(batch.part(part), states=(states_ND[part], training_batch.hidden_ND[part])),
            )
            for logits_NV, (_, states_ND) in zip(logits, readers, strict=True)
        )
        values.append(draft_N - reference[0] if reference else draft_N)
    return torch.cat(values)


def _hidden(
    context: TrainingContext, model: LanguageModel, training_batch: TrainingBatch, step: int
) -> torch.Tensor:
    """Return a model's states of the supervised tokens: [N, D], or [N, K, D] of a feature head."""
    if not training_batch.texts:  # there are more processes than rows
        return torch.empty(0, model.hidden_size, device=model.device)
    with autocast(context):
        return read_batch(model, training_batch, step)


def _chunks(states_ND: torch.Tensor, vocab_size: int) -> Iterator[slice]:
    depth = math.prod(states_ND.shape[1:-1])
    size = max(1, CHUNK_LOGITS // (vocab_size * depth))
    return (slice(start, start + size) for start in range(0, len(states_ND), size))


@torch.no_grad()
def _target_logits(context: TrainingContext, hidden_ND: torch.Tensor) -> torch.Tensor:
    target = context.target
    if target is None:
        return hidden_ND.new_empty(len(hidden_ND), 0)
    return target.logits(hidden_ND.to(target.device, target.model.dtype))


def autocast(context: TrainingContext) -> Any:
    """Return a context manager in which models compute in the pair's dtype."""
    dtype = getattr(torch, context.dtype)
    device = context.draft.device.type
    return torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32)
