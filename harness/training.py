"""The one training loop: every method that trains a draft goes through it.

It takes rows with the target's cached hidden states, a loss for each supervised token, and the
settings. Positions are gathered before the head, and head and loss run in chunks of positions with
their own backward pass, so peak memory does not grow with positions x vocabulary. Compute is in
the pair's dtype, the loss and the weights in float32. The order of rows is a function of the seed
alone and a checkpoint holds all the rest, so an interrupted run ends with the same bits on a CPU.

Legend: T position, N supervised position, D hidden size, V vocabulary.
"""

import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from harness.checkpoints import Checkpoint, load_latest, save
from harness.divergences import overlap
from harness.errors import UserError
from harness.models import LanguageModel
from harness.progress import Step
from harness.schedule import learning_rate, order_of_pass, total_steps
from harness.sections import Training
from harness.teacher import Features, TargetLaws, hidden_states, right_padded, supervised
from harness.types import Draft, Ledger, Sampler, Text
from harness.verification import warp

TokenLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

CHUNK = 1024  # supervised positions that go through head and loss at once
CHECKPOINT_INTERVAL_S = 60.0
AS_THEY_ARE = Sampler(1.0)  # validation compares the laws themselves


@dataclass(frozen=True)
class TrainingContext:
    """What a method trains with."""

    draft: LanguageModel  # the draft init, float32
    target: LanguageModel  # only its head is used
    features: Mapping[str, Path]  # "train" and "validation", of a method that trains
    settings: Training
    dtype: str
    seed: int
    scratch: Path
    step: Step

    @cached_property
    def train(self) -> Features:
        """The training texts with the target's hidden states."""
        return Features.load(self.features["train"])

    @cached_property
    def validation(self) -> Features:
        """The validation texts with the target's hidden states."""
        return Features.load(self.features["validation"])

    @property
    def num_steps(self) -> int:
        """How many optimiser steps there are: the passes asked for, in whole batches."""
        return total_steps(len(self.train.texts), self.settings)


def train(context: TrainingContext, token_loss: TokenLoss) -> Draft:
    """Return the draft at its best validation acceptance, with ledger and history.

    `token_loss` takes (draft logits [N, V], target logits [N, V]) and returns [N], in float32.
    Raises UserError if the loss is not finite; the weights before that step are kept.
    """
    model = context.draft.model
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    settings = context.settings
    optimiser = torch.optim.AdamW(
        trained, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=settings.weight_decay
    )
    state = load_latest(context.scratch, model, optimiser) or _start(context)
    context.step.advance(state.step)
    last_saved = time.monotonic()
    while state.step < context.num_steps:
        state = _train_step(context, token_loss, optimiser, trained, state)
        if state.step in _validation_steps(context):
            state = _validate(context, state)
        if time.monotonic() - last_saved > CHECKPOINT_INTERVAL_S:
            save(context.scratch, state, model, optimiser)
            last_saved = time.monotonic()
    if state.best is not None:
        model.load_state_dict(state.best)
    return Draft(context.draft, replace(state.ledger, peak_bytes=_peak_bytes()), state.history)


def _start(context: TrainingContext) -> Checkpoint:
    return _validate(context, Checkpoint(step=0, ledger=Ledger(), history=(), best=None))


def _train_step(
    context: TrainingContext,
    token_loss: TokenLoss,
    optimiser: torch.optim.Optimizer,
    trained: Sequence[torch.nn.Parameter],
    state: Checkpoint,
) -> Checkpoint:
    started = time.perf_counter()
    texts = _rows_of_step(context, state.step)
    loss = _backward(context, texts, token_loss)
    norm = float(torch.nn.utils.clip_grad_norm_(trained, context.settings.clip_norm))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        save(context.scratch, state, context.draft.model, optimiser)
        raise UserError(
            f"The loss is {loss}, its gradient's norm {norm}, at step {state.step + 1} of "
            f"{context.num_steps}; the weights before it are kept in {context.scratch}. Lower "
            "training.learning_rate."
        )
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(state.step, context.num_steps, context.settings)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    context.step.advance(note=f"loss {loss:.3f}")
    ledger = _charge(state.ledger, context, texts, time.perf_counter() - started)
    return replace(state, step=state.step + 1, ledger=ledger, loss=loss)


def _rows_of_step(context: TrainingContext, step: int) -> list[Text]:
    rows = context.settings.rows_per_batch
    per_pass = math.ceil(len(context.train.texts) / rows)
    order = order_of_pass(context.train.texts, rows, seed=context.seed, number=step // per_pass)
    return [context.train.texts[index] for index in order[step % per_pass]]


def _backward(context: TrainingContext, texts: Sequence[Text], token_loss: TokenLoss) -> float:
    """Add the gradient of the mean loss over the texts' supervised tokens; return that mean."""
    draft = context.draft
    with _autocast(context):
        states_BTD = draft.hidden(*right_padded(texts, draft.device))
    hidden_ND = torch.cat(list(supervised(texts, states_BTD)))
    target_ND = torch.cat([context.train.of(text) for text in texts])
    # The head's graph ends here: each chunk frees its logits before the next makes its own.
    leaf_ND = hidden_ND.detach().requires_grad_()
    total = 0.0
    for start in range(0, len(leaf_ND), CHUNK):
        part = slice(start, start + CHUNK)
        with _autocast(context):
            draft_logits_NV = draft.logits(leaf_ND[part])
            target_logits_NV = _target_logits(context, target_ND[part])
        loss = token_loss(draft_logits_NV, target_logits_NV).sum() / len(leaf_ND)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        total += float(loss.detach())
    hidden_ND.backward(leaf_ND.grad)  # type: ignore[no-untyped-call]
    return total


@torch.no_grad()
def _target_logits(context: TrainingContext, hidden_ND: torch.Tensor) -> torch.Tensor:
    target = context.target
    return target.logits(hidden_ND.to(target.device, target.model.dtype))


def _validation_steps(context: TrainingContext) -> set[int]:
    parts = context.settings.validations
    return {math.ceil(part * context.num_steps / parts) for part in range(1, parts + 1)}


def _validate(context: TrainingContext, state: Checkpoint) -> Checkpoint:
    """Note the validation acceptance, and the weights if it is the best so far."""
    acceptance = validation_acceptance(context)
    best = max((point["validation_acceptance"] for point in state.history), default=-1.0)
    point = {"step": float(state.step), "validation_acceptance": acceptance}
    if state.loss is not None:
        point["loss"] = state.loss
    state = replace(state, history=(*state.history, point))
    if acceptance > best:
        weights = context.draft.model.state_dict()
        state = replace(state, best={name: value.clone() for name, value in weights.items()})
    return state


@torch.no_grad()
def validation_acceptance(context: TrainingContext) -> float:
    """Return the mean of sum min(p, q) at temperature 1 over the validation texts' tokens."""
    laws = TargetLaws(context.target, context.validation)
    total, tokens = 0.0, 0
    with _autocast(context):
        for text, hidden_ND in hidden_states(context.draft, context.validation.texts):
            q_NV = warp(context.draft.logits(hidden_ND), AS_THEY_ARE)
            total += float(overlap(q_NV, warp(laws.logits(text), AS_THEY_ARE)).sum())
            tokens += len(text.response_ids)
    return total / tokens


def _autocast(context: TrainingContext) -> Any:
    dtype = getattr(torch, context.dtype)
    device = context.draft.device.type
    return torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32)


def _charge(
    ledger: Ledger, context: TrainingContext, texts: Sequence[Text], seconds: float
) -> Ledger:
    """Add one step to the ledger.

    A weight costs 2 FLOPs a token forward, 2 for the gradient of its input, 2 for its own.
    """
    supervised_tokens = sum(len(text.response_ids) for text in texts)
    read_tokens = sum(len(text.prompt_ids) + len(text.response_ids) - 1 for text in texts)
    head = context.draft.model.get_output_embeddings().weight
    embedding = context.draft.model.get_input_embeddings().weight.numel()
    tied = context.draft.model.config.tie_word_embeddings
    body = context.draft.model.num_parameters() - embedding - (0 if tied else head.numel())
    target_head = context.target.model.get_output_embeddings().weight.numel()
    head_flops = (6 if head.requires_grad else 4) * head.numel() + 2 * target_head
    flops = 6 * body * read_tokens + head_flops * supervised_tokens
    return replace(
        ledger,
        steps=ledger.steps + 1,
        rows=ledger.rows + len(texts),
        supervised_tokens=ledger.supervised_tokens + supervised_tokens,
        flops=ledger.flops + flops,
        train_s=ledger.train_s + seconds,
    )


def _peak_bytes() -> int:
    """Return the most memory that this process, or its GPU, has held so far."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts kilobytes, but bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
