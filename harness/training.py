"""The one training loop: every method that trains a draft, and a target's fine-tuning, goes by it.

It takes texts step by step, with the target's hidden states where a loss compares with its laws, a
loss for each supervised token, perhaps what each weighs, and the settings. Positions are gathered
before the head, and head and loss run in chunks of positions with their own backward pass, so peak
memory does not grow with positions x vocabulary. Compute is in the pair's dtype, the loss and the
weights in float32. What a step reads is a function of seed, step and weights, and a checkpoint
holds all the rest, so an interrupted run ends with the same bits on a CPU.

Legend: N supervised position, T position, D hidden size, V vocabulary.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from harness.batches import Batch, Lesson, Texts
from harness.checkpoints import Checkpoint, load_latest, save
from harness.errors import UserError
from harness.ledgers import charge, peak_bytes
from harness.model_sections import Optimisation
from harness.models import LanguageModel
from harness.progress import Aside, Step
from harness.schedule import learning_rate, total_steps
from harness.selection import Criterion
from harness.teacher import right_padded, supervised
from harness.types import Course, Draft, Ledger, Text

TokenLoss = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]

CHUNK = 1024  # supervised positions that go through head and loss at once
CHECKPOINT_INTERVAL_S = 60.0


@dataclass(frozen=True)
class TrainingContext:
    """What a method trains with. Texts and criterion are there for a method that trains."""

    draft: LanguageModel  # the draft init, float32
    target: LanguageModel | None  # its head, for losses that compare with its laws
    settings: Optimisation
    dtype: str
    seed: int
    scratch: Path
    step: Step
    texts: Texts = field(default_factory=Texts)
    criterion: Criterion | None = None
    keeps_end: bool = False  # write a checkpoint at the end, so that it is read if called again

    @property
    def num_steps(self) -> int:
        """How many optimiser steps there are: the passes asked for, in whole batches."""
        return total_steps(len(self.texts), self.settings)

    def before(self, name: str, course: Course) -> "TrainingContext":
        """Return the context of a training before this one, by the same settings but `course`.

        It trains the same draft in place; an interruption of what follows does not repeat it.
        """
        told = {"passes": course.passes, "rows_per_batch": course.rows_per_batch}
        return replace(
            self,
            settings=self.settings.model_copy(update=told),
            scratch=self.scratch / name,
            step=Aside(self.step, name),
            keeps_end=True,
        )


@dataclass(frozen=True)
class Weighing:
    """What each token of a step weighs, by how much better a reference does on it.

    `weigh` takes (draft's loss less the reference's [N], Batch of the whole step) and returns
    weights [N], not all 0; the step's loss is the mean by them.
    """

    reference: LanguageModel  # of the draft's shape, on its device; it is only read
    weigh: Callable[[torch.Tensor, Batch], torch.Tensor]


def train(
    context: TrainingContext, token_loss: TokenLoss, weighing: Weighing | None = None
) -> Draft:
    """Return the draft at its best validation checkpoint, with ledger and history.

    `token_loss` takes (draft logits [N, V], target logits [N, V], Batch) and returns [N], in
    float32. Without a target in the context its logits are [N, 0], and cost nothing. Without a
    `weighing` all tokens weigh the same. Raises UserError if the loss is not finite; the weights
    before that step are kept.
    """
    model = context.draft.model
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    settings = context.settings
    optimiser = torch.optim.AdamW(
        trained,
        lr=settings.learning_rate,
        betas=(0.9, settings.beta2),
        weight_decay=settings.weight_decay,
    )
    state = load_latest(context.scratch, model, optimiser)
    state = state or _validate(context, Checkpoint(0, Ledger(), history=(), best=None))
    context.step.advance(state.step)
    last_saved = time.monotonic()
    while state.step < context.num_steps:
        state = _train_step(context, token_loss, weighing, optimiser, trained, state)
        if state.step in _validation_steps(context):
            state = _validate(context, state)
        ended = context.keeps_end and state.step == context.num_steps
        if ended or time.monotonic() - last_saved > CHECKPOINT_INTERVAL_S:
            save(context.scratch, state, model, optimiser)
            last_saved = time.monotonic()
    if state.best is not None:
        model.load_state_dict(state.best)
    return Draft(context.draft, replace(state.ledger, peak_bytes=peak_bytes()), state.history)


def _train_step(
    context: TrainingContext,
    token_loss: TokenLoss,
    weighing: Weighing | None,
    optimiser: torch.optim.Optimizer,
    trained: Sequence[torch.nn.Parameter],
    state: Checkpoint,
) -> Checkpoint:
    started = time.perf_counter()
    lesson = context.texts.lesson(state.step, context.settings.rows_per_batch)
    loss = _backward(context, lesson, state.step, token_loss, weighing)
    norm = float(torch.nn.utils.clip_grad_norm_(trained, context.settings.clip_norm))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        save(context.scratch, state, context.draft.model, optimiser)
        raise UserError(
            f"The loss is {loss}, its gradient's norm {norm}, at step {state.step + 1} of "
            f"{context.num_steps}; the weights before it are kept in {context.scratch}. Lower "
            "the learning_rate."
        )
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(state.step, context.num_steps, context.settings)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    context.step.advance(note=f"loss {loss:.3f}")
    seconds = time.perf_counter() - started
    compared = weighing is not None
    ledger = charge(state.ledger, lesson, context.draft, context.target, seconds, compared=compared)
    return replace(state, step=state.step + 1, ledger=ledger, loss=loss)


def _backward(
    context: TrainingContext,
    lesson: Lesson,
    step: int,
    token_loss: TokenLoss,
    weighing: Weighing | None = None,
) -> float:
    """Add the gradient of the mean loss over the supervised tokens, by weight; return that mean."""
    draft = context.draft
    batch = Batch.of(lesson.texts, step, context.num_steps, draft.device)
    hidden_ND = _hidden(context, draft, lesson.texts)
    # The head's graph ends here: each chunk frees its logits before the next makes its own.
    leaf_ND = hidden_ND.detach().requires_grad_()
    weights_N = torch.ones(len(leaf_ND), device=draft.device)
    if weighing is not None:
        gap_N = _gap(context, lesson, batch, token_loss, weighing.reference, leaf_ND)
        weights_N = weighing.weigh(gap_N, batch)
    weight = float(weights_N.sum())
    total = 0.0
    for part in _chunks(leaf_ND):
        with _autocast(context):
            draft_logits_NV = draft.logits(leaf_ND[part])
            target_logits_NV = _target_logits(context, lesson.hidden_ND[part])
        loss_N = token_loss(draft_logits_NV, target_logits_NV, batch.part(part))
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
    reference_ND = _hidden(context, reference, lesson.texts)
    gaps = []
    for part in _chunks(hidden_ND):
        with _autocast(context):
            target_logits_NV = _target_logits(context, lesson.hidden_ND[part])
            logits = context.draft.logits(hidden_ND[part]), reference.logits(reference_ND[part])
        of_draft_N, of_reference_N = (
            token_loss(logits_NV, target_logits_NV, batch.part(part)) for logits_NV in logits
        )
        gaps.append(of_draft_N - of_reference_N)
    return torch.cat(gaps)


def _hidden(context: TrainingContext, model: LanguageModel, texts: Sequence[Text]) -> torch.Tensor:
    """Return a model's hidden states [N, D] at the supervised positions of texts."""
    with _autocast(context):
        states_BTD = model.hidden(*right_padded(texts, model.device))
    return torch.cat(list(supervised(texts, states_BTD)))


def _chunks(states_ND: torch.Tensor) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, len(states_ND), CHUNK))


@torch.no_grad()
def _target_logits(context: TrainingContext, hidden_ND: torch.Tensor) -> torch.Tensor:
    target = context.target
    if target is None:
        return hidden_ND.new_empty(len(hidden_ND), 0)
    return target.logits(hidden_ND.to(target.device, target.model.dtype))


def _validation_steps(context: TrainingContext) -> set[int]:
    parts = context.settings.validations
    return {math.ceil(part * context.num_steps / parts) for part in range(1, parts + 1)}


def _validate(context: TrainingContext, state: Checkpoint) -> Checkpoint:
    """Note the criterion's value, and the weights if it is the best so far."""
    criterion = context.criterion
    assert criterion is not None, "nothing to choose a checkpoint by"
    with _autocast(context):
        value = criterion.measure(context.draft)
    best = criterion.improves(value, [point[criterion.name] for point in state.history])
    point = {"step": float(state.step), criterion.name: value}
    if state.loss is not None:
        point["loss"] = state.loss
    state = replace(state, history=(*state.history, point))
    if best:
        weights = context.draft.model.state_dict()
        state = replace(state, best={name: value.clone() for name, value in weights.items()})
    return state


def _autocast(context: TrainingContext) -> Any:
    dtype = getattr(torch, context.dtype)
    return torch.autocast(context.draft.device.type, dtype=dtype, enabled=dtype != torch.float32)
