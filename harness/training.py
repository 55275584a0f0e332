"""The one training loop: every method that trains a draft, and a target's fine-tuning, goes by it.

It takes texts step by step, with the target's hidden states where a loss compares with its laws, a
loss for each supervised token, perhaps what each weighs, and the settings. Weights are in
float32. What a step reads is a function of seed, step and weights, and a checkpoint
holds all the rest, so an interrupted run ends with the same bits on a CPU.

Legend: N supervised position, T position, D hidden size, V vocabulary.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from harness.batches import Batch, Texts
from harness.checkpoints import Checkpoint, load_latest, save
from harness.errors import UserError
from harness.gradients import autocast, backward
from harness.ledgers import charge, peak_bytes
from harness.model_sections import Optimisation
from harness.models import LanguageModel
from harness.progress import Aside, Step
from harness.readings import depth_of
from harness.schedule import learning_rate, total_steps
from harness.selection import Criterion
from harness.types import Draft, Ledger

TokenLoss = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]

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

    def before(self, name: str, passes: float) -> "TrainingContext":
        """Return the context of a training before this one, by the same settings but `passes`.

        It trains the same draft in place; an interruption of what follows does not repeat it.
        """
        return replace(
            self,
            settings=self.settings.model_copy(update={"passes": passes}),
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
    loss = backward(context, lesson, state.step, token_loss, weighing)
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
    depth, draft = depth_of(context.draft), context.draft
    ledger = charge(
        state.ledger, lesson, draft, context.target, seconds, compared=compared, depth=depth
    )
    return replace(state, step=state.step + 1, ledger=ledger, loss=loss)


def _validation_steps(context: TrainingContext) -> set[int]:
    parts = context.settings.validations
    return {math.ceil(part * context.num_steps / parts) for part in range(1, parts + 1)}


def _validate(context: TrainingContext, state: Checkpoint) -> Checkpoint:
    """Note the criterion's value, and the weights if it is the best so far."""
    criterion = context.criterion
    assert criterion is not None, "nothing to choose a checkpoint by"
    with autocast(context):
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
