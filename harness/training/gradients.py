"""The gradient of one step, in memory that does not grow with positions x vocabulary.

Positions are gathered before the head. The heads run in chunks of positions, each with its own
backward pass. On a CPU a loss runs in smaller pieces, which stay in the processor's cache: a loss
reads and writes its logits some twenty times. Models compute in the pair's dtype, losses in
float32.

Legend: N supervised token, D hidden size, V vocabulary. A draft that reads a token at K depths has
states [N, K, D] and logits [N, K, V].
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch

from draftmark.errors import UserError
from draftmark.models.generation import random_stream
from draftmark.models.language_model import LanguageModel
from draftmark.models.large_weights import embedding_in_place, lowered_head
from draftmark.training.batches import Batch, TrainingBatch
from draftmark.training.context import PreLossPass, TokenLoss, TrainingContext
from draftmark.training.divergences import to_float32
from draftmark.training.flops import CHUNK_LOGITS, KEPT_CHUNKS
from draftmark.training.head_training import ReadsStates, read_batch
from draftmark.training.lora import dropout
from draftmark.training.recomputation import recomputed_layers

ALL = slice(None)
PIECE_LOGITS = 2**17  # 512 KiB in float32, in about six copies


@dataclass(frozen=True)
class _Chunk:
    """Some of a step's tokens as both heads read them."""

    states: tuple[torch.Tensor, torch.Tensor]  # the draft's [N, D], with a gradient; the target's
    draft_logits_NV: torch.Tensor  # in a graph that begins at the draft's states
    target_logits_NV: torch.Tensor

    def pieces(self) -> Iterator[slice]:
        """Yield the tokens whose losses are computed together; all of them on a GPU."""
        num_tokens, logits_V = len(self.draft_logits_NV), math.prod(self.draft_logits_NV.shape[1:])
        on_cpu = self.draft_logits_NV.device.type == "cpu"
        return _slices(num_tokens, PIECE_LOGITS // logits_V if on_cpu else num_tokens)

    def piece(self, piece: slice, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, Batch]:
        """Return the arguments of a loss: logits in float32, in no graph, and the batch."""
        states = (self.states[0][piece], self.states[1][piece])
        draft_NV, target_NV = self.draft_logits_NV.detach()[piece], self.target_logits_NV[piece]
        part = replace(batch.part(piece), states=states)
        return to_float32(draft_NV), to_float32(target_NV), part


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
    The texts are read in parts of `rows_at_once`. A PreLossPass of several parts reads them all
    once more before, without a gradient.
    """
    total, weighted, losses = 0.0, None, (token_loss, pre_loss_pass)
    shared = _parts(context, training_batch, len(batch.example_ids))
    parts = [(part, _within(mine, tokens)) for part, tokens in shared]
    with lowered_head(context.draft.model, context.dtype):
        if pre_loss_pass is not None and len(parts) > 1:
            values_N = _measure_apart(context, parts, batch, pre_loss_pass)
            weighted = _weigh(context, batch, pre_loss_pass, values_N)
        for number, (part, tokens) in enumerate(parts):
            hidden_ND = _hidden_with_gradient(context, part, batch.step, number)
            # The head's graph ends here, so each chunk frees its logits before the next chunk.
            leaf_ND = hidden_ND.detach().requires_grad_()
            total += _backward_heads(context, part, batch, leaf_ND, tokens, losses, weighted)
            if hidden_ND.requires_grad:
                gradient_ND = torch.zeros_like(leaf_ND) if leaf_ND.grad is None else leaf_ND.grad
                hidden_ND.backward(gradient_ND)  # type: ignore[no-untyped-call]
    return total


def _parts(
    context: TrainingContext, training_batch: TrainingBatch, rows: int
) -> list[tuple[TrainingBatch, slice]]:
    """Return this process's share of a step of `rows` rows in parts, with their tokens.

    All processes of a sharded training have equally many, as they put layers together at once.
    """
    at_once, count = context.settings.rows_at_once, context.team.count
    parts = list(training_batch.parts(at_once))
    if context.sharded:
        most = -(-rows // count)
        end = slice(parts[-1][1].stop, parts[-1][1].stop)
        empty = replace(training_batch, texts=(), hidden_ND=training_batch.hidden_ND[:0], layers=())
        parts += [(empty, end)] * (-(-most // (at_once or most)) - len(parts))
    return parts


def _within(mine: slice, tokens: slice) -> slice:
    """Return the tokens of a part as a slice of the whole step's."""
    first = mine.start or 0
    return slice(first + tokens.start, first + tokens.stop)


def _hidden_with_gradient(
    context: TrainingContext, part: TrainingBatch, step: int, number: int
) -> torch.Tensor:
    """Return the draft's states of one part of a step, in a graph."""
    model, settings = context.draft.model, context.settings
    names = (str(step), str(context.team.rank), *([str(number)] if number else []))
    seed = random_stream(context.seed, "dropout", *names).initial_seed()
    # The layer of a head reads more than its inputs, and blocks share a cache.
    wanted = settings.gradient_checkpointing and not isinstance(context.draft, ReadsStates)
    recomputed = recomputed_layers(model, wanted=wanted)
    with embedding_in_place(model), dropout(model, settings.lora, seed), recomputed:
        return _hidden(context, context.draft, part, step)


def _measure_apart(
    context: TrainingContext,
    parts: Sequence[tuple[TrainingBatch, slice]],
    batch: Batch,
    pre_loss_pass: PreLossPass,
) -> torch.Tensor:
    """Return the values [N] that a PreLossPass measures on this process's tokens, part by part."""
    values = []
    for part, tokens in parts:
        with torch.no_grad():
            states_ND = _hidden(context, context.draft, part, batch.step)
        values.append(_measure(context, part, batch.part(tokens), pre_loss_pass, states_ND, None))
    return torch.cat(values)


def _weigh(
    context: TrainingContext, batch: Batch, pre_loss_pass: PreLossPass, own_N: torch.Tensor
) -> tuple[Batch, torch.Tensor]:
    """Return the step's batch with the mean of the measured values, and the tokens' weights."""
    values_N = context.team.gather_tokens(own_N)
    batch = replace(batch, pre_loss_mean=float(values_N.mean()))
    ones_N = torch.ones(len(batch.labels_N), device=own_N.device)
    return batch, pre_loss_pass.weigh(values_N, batch) if pre_loss_pass.weigh else ones_N


def _backward_heads(
    context: TrainingContext,
    training_batch: TrainingBatch,
    batch: Batch,
    leaf_ND: torch.Tensor,
    mine: slice,
    losses: tuple[TokenLoss, PreLossPass | None],
    weighted: tuple[Batch, torch.Tensor] | None,
) -> float:
    """Accumulate the gradients of the head and of its inputs `leaf_ND`; return the loss share.

    `weighted`: the batch and the tokens' weights of the whole step, if they were measured before.
    """
    token_loss, pre_loss_pass = losses
    weights_N = torch.ones(len(batch.labels_N), device=leaf_ND.device)
    kept: list[_Chunk] = []
    if weighted is not None:
        batch, weights_N = weighted
    elif pre_loss_pass is not None:
        own_N = _measure(context, training_batch, batch.part(mine), pre_loss_pass, leaf_ND, kept)
        batch, weights_N = _weigh(context, batch, pre_loss_pass, own_N)
    weight, weights_N, batch = float(weights_N.sum()), weights_N[mine], batch.part(mine)
    total = 0.0
    for part in _chunks(context, leaf_ND):
        chunk = kept.pop(0) if kept else _read_heads(context, training_batch, leaf_ND, part)
        total += _backward(chunk, token_loss, batch.part(part), weights_N[part] / weight)
    return total


def _backward(chunk: _Chunk, token_loss: TokenLoss, batch: Batch, weights_N: torch.Tensor) -> float:
    """Accumulate the gradient of the weighted loss of a chunk's tokens; return that loss."""
    total, gradient_NV = 0.0, torch.empty_like(chunk.draft_logits_NV)
    for piece in chunk.pieces():
        leaf_NV, target_NV, part = chunk.piece(piece, batch)
        leaf_NV.requires_grad_()
        loss_N = check_loss(token_loss(leaf_NV, target_NV, part), weights_N[piece].shape)
        loss = (loss_N * weights_N[piece]).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        gradient_NV[piece] = 0 if leaf_NV.grad is None else leaf_NV.grad
        total += float(loss.detach())
    chunk.draft_logits_NV.backward(gradient_NV)  # type: ignore[no-untyped-call]
    return total


def check_loss(loss_N: Any, shape: torch.Size) -> torch.Tensor:
    """Return a loss; raises UserError unless it has the shape of its weights, and a gradient.

    A shape that broadcasts to that of the weights would silently train on a wrong loss.
    """
    got = tuple(loss_N.shape) if isinstance(loss_N, torch.Tensor) else type(loss_N).__name__
    if got != tuple(shape):
        raise UserError(
            f"The loss of {shape[0]} tokens is {got}, not one number for each token; "
            f"return a tensor of shape {tuple(shape)}, summed over the vocabulary."
        )
    if not loss_N.requires_grad:
        raise UserError(
            "The loss has no gradient; compute it from the draft's logits, without detach, item "
            "or no_grad."
        )
    return cast(torch.Tensor, loss_N)


def _measure(
    context: TrainingContext,
    training_batch: TrainingBatch,
    batch: Batch,
    pre_loss_pass: PreLossPass,
    leaf_ND: torch.Tensor,
    kept: list[_Chunk] | None,
) -> torch.Tensor:
    """Return the values [N] that a PreLossPass measures on this process's tokens.

    The first chunks are added to `kept`, if given, so that the heads need not read them again.
    """
    reference, values = pre_loss_pass.reference, [leaf_ND.new_empty(0, dtype=torch.float32)]
    if reference is not None:
        with torch.no_grad():
            reference_ND = _hidden(context, reference, training_batch, batch.step)
    for part in _chunks(context, leaf_ND):
        chunk = _read_heads(context, training_batch, leaf_ND, part)
        values_N = _values(chunk, pre_loss_pass.measure, batch.part(part))
        if reference is not None:
            with torch.no_grad(), autocast(context):
                logits_NV = reference.logits(reference_ND[part])
            states = (reference_ND[part], chunk.states[1])
            other = _Chunk(states, logits_NV, chunk.target_logits_NV)
            values_N = values_N - _values(other, pre_loss_pass.measure, batch.part(part))
        values.append(values_N)
        if kept is not None and len(kept) < KEPT_CHUNKS:
            kept.append(chunk)
    return torch.cat(values)


def _read_heads(
    context: TrainingContext,
    training_batch: TrainingBatch,
    leaf_ND: torch.Tensor,
    part: slice,
) -> _Chunk:
    """Return the tokens in `part` with the logits of draft and target."""
    states_ND, hidden_ND = leaf_ND[part], training_batch.hidden_ND[part]
    with autocast(context):
        target_logits_NV = _target_logits(context, hidden_ND)
        draft_logits_NV = context.draft.logits(states_ND)
    return _Chunk((states_ND, hidden_ND), draft_logits_NV, target_logits_NV)


@torch.no_grad()
def _values(chunk: _Chunk, measure: TokenLoss, batch: Batch) -> torch.Tensor:
    """Return the values [N] of a chunk's tokens, without a gradient."""
    return torch.cat([measure(*chunk.piece(piece, batch)) for piece in chunk.pieces()])


def _hidden(
    context: TrainingContext, model: LanguageModel, training_batch: TrainingBatch, step: int
) -> torch.Tensor:
    """Return a model's states of the supervised tokens: [N, D], or [N, K, D] of a feature head."""
    if not training_batch.texts:  # another process has more rows
        if context.sharded and model is context.draft:
            with autocast(context):
                return model.hidden(torch.zeros(1, 1, dtype=torch.long, device=model.device))[0, :0]
        return torch.empty(0, model.hidden_size, device=model.device)
    with autocast(context):
        # Layers that are computed again would not find the attention of packed texts.
        packed = context.packed and not context.settings.gradient_checkpointing
        return read_batch(model, training_batch, step, packed=packed)


def _chunks(context: TrainingContext, states_ND: torch.Tensor) -> Iterator[slice]:
    logits_V = context.draft.vocab_size * math.prod(states_ND.shape[1:-1])
    size = CHUNK_LOGITS * 4 // getattr(torch, context.dtype).itemsize  # as many bytes in any dtype
    return _slices(len(states_ND), size // logits_V)


def _slices(length: int, size: int) -> Iterator[slice]:
    size = max(1, size)
    return (slice(start, start + size) for start in range(0, length, size))


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
