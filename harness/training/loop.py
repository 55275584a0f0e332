"""The one training loop, for every method that trains a draft and for fine-tuning a target.

Each step reads texts, with the target's hidden states if the loss needs target logits, and applies
a loss to each supervised token; a PreLossPass may measure the tokens first. Weights are float32.
The texts of a step are a function of seed, step and weights, and a checkpoint holds all other
state, so an interrupted run ends with the same bits on a CPU.
"""

import math
import time
from dataclasses import dataclass, replace
from itertools import accumulate, chain

import torch

from draftmark.errors import UserError
from draftmark.models.large_weights import clear_gradients
from draftmark.models.packing import can_pack
from draftmark.training.batches import Batch, TrainingBatch
from draftmark.training.checkpoints import (
    Checkpoint,
    load_best,
    load_latest,
    save_best,
    save_checkpoint,
)
from draftmark.training.clipping import clipped_norm
from draftmark.training.context import Draft, PreLossPass, TokenLoss, TrainingContext
from draftmark.training.flops import StepKind
from draftmark.training.gradients import autocast, backward_in_chunks
from draftmark.training.head_training import ReadsStates
from draftmark.training.ledger import charge_step, keep_freed_blocks, peak_bytes
from draftmark.training.lora import adapted
from draftmark.training.schedule import Goal, is_validation_step, learning_rate
from draftmark.training.sharding import parameter_groups, sharded_layers
from draftmark.types import Ledger

__all__ = ["PreLossPass", "TokenLoss", "TrainingContext", "train"]

CHECKPOINT_INTERVAL_S = 60.0


@dataclass(frozen=True)
class _Training:
    """The constants of a training."""

    context: TrainingContext
    token_loss: TokenLoss
    pre_loss_pass: PreLossPass | None
    optimiser: torch.optim.Optimizer
    goal: Goal

    def step_kind(self, batch: TrainingBatch) -> StepKind:
        """Return the kind of a step for the ledger."""
        draft, measuring = self.context.draft, self.pre_loss_pass
        depth = draft.depth if isinstance(draft, ReadsStates) else 1
        compared = measuring is not None and measuring.reference is not None
        return StepKind(depth, batch.live, batch.target_read, measuring is not None, compared)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The weights that train."""
        return [each for group in self.optimiser.param_groups for each in group["params"]]

    def save(self, state: Checkpoint) -> None:
        """Write a checkpoint in the first process; all put sharded weights together for it."""
        model, is_first = self.context.draft.model, self.context.team.is_first
        save_checkpoint(self.context.scratch, state, model, self.optimiser, writes=is_first)


def train(
    context: TrainingContext, token_loss: TokenLoss, pre_loss_pass: PreLossPass | None = None
) -> Draft:
    """Return the draft at its best validation checkpoint, with ledger and history.

    `token_loss` takes (draft logits [N, V], target logits [N, V], Batch), in float32, and returns
    [N]. Without a target in the context, the target logits are [N, 0]. With `settings.lora`,
    adapters train, and the draft has them in its weights. Raises UserError if the budget is already
    used up, or if a loss is not of shape [N] or not finite; the weights before a non-finite loss
    are kept.
    """
    model = context.draft.model
    if context.sharded and isinstance(context.draft, ReadsStates):
        raise UserError(
            "training.sharded puts a layer together for one pass over a step's texts, and this "
            "draft reads them in several; leave sharded out for this method."
        )
    with (
        adapted(model, context.settings.lora, context.seed),
        sharded_layers(model, context.team, wanted=context.sharded),
    ):
        return _train(context, token_loss, pre_loss_pass)


def _train(
    context: TrainingContext, token_loss: TokenLoss, pre_loss_pass: PreLossPass | None
) -> Draft:
    keep_freed_blocks()
    context.texts.check(context.draft)
    context = replace(context, packed=can_pack(context.draft))
    model, settings, goal = context.draft.model, context.settings, context.goal
    optimiser = torch.optim.AdamW(
        parameter_groups(each for each in model.parameters() if each.requires_grad),
        lr=settings.learning_rate,
        betas=(0.9, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=True,  # copies no weights
    )
    training = _Training(context, token_loss, pre_loss_pass, optimiser, goal)
    state = load_latest(context.scratch, model, optimiser)
    state = state or _validate(context, Checkpoint(0, Ledger(), history=(), best=None))
    context.step.advance(goal.units_done(state.ledger))
    last_saved = time.monotonic()
    while not _has_ended(training, state):
        before = goal.share(state.ledger)
        state = _train_step(training, state)
        if is_validation_step(before, goal.share(state.ledger), settings):
            state = _validate(context, state)
        ended = context.keeps_end and _has_ended(training, state)
        if ended or _is_due(context, last_saved):
            training.save(state)
            last_saved = time.monotonic()
    if state.best is not None:
        context.team.wait()  # until the first process has written the weights
        load_best(context.scratch, state.best, model)
    ledger = replace(state.ledger, peak_bytes=peak_bytes())
    trained = sum(each.numel() for each in training.parameters)
    return Draft(context.draft, ledger, state.history, trained)


def _has_ended(training: _Training, state: Checkpoint) -> bool:
    """True if the goal is reached, or `patience` validations in a row were not better."""
    if training.goal.share(state.ledger) >= 1:
        return True
    patience, best = training.context.settings.patience, state.best or 0
    return patience is not None and sum(at["step"] > best for at in state.history) >= patience


def _is_due(context: TrainingContext, last_saved: float) -> bool:
    """True if a checkpoint is due, by the first process's clock if all must write it together."""
    due = time.monotonic() - last_saved > CHECKPOINT_INTERVAL_S
    return context.team.from_first(lambda: due) if context.sharded else due


def _train_step(training: _Training, state: Checkpoint) -> Checkpoint:
    started = time.perf_counter()
    context, goal, before = training.context, training.goal, training.goal.share(state.ledger)
    team, settings = context.team, context.settings
    training_batch = context.texts.training_batch(
        state.step, settings.rows_per_batch, team.own_rows
    )
    by_process = team.gather_lists(training_batch.texts)
    texts = list(chain.from_iterable(by_process))
    batch = Batch.from_texts(texts, state.step, float(before), context.draft.device)
    ends = [0, *accumulate(sum(len(text.response_ids) for text in each) for each in by_process)]
    mine = slice(ends[team.rank], ends[team.rank + 1])
    if training.pre_loss_pass is not None and training.pre_loss_pass.prepare is not None:
        training.pre_loss_pass.prepare(state.step)
    part = backward_in_chunks(
        context, training_batch, batch, training.token_loss, training.pre_loss_pass, mine
    )
    loss = team.sum_values(part)
    norm = clipped_norm(training.parameters, team, settings.clip_norm)
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise _not_finite(training, state, loss, norm)
    seconds = team.from_first(lambda: time.perf_counter() - started)
    kind = training.step_kind(training_batch)
    ledger = charge_step(state.ledger, texts, kind, context.draft, context.target, seconds)
    rate = learning_rate(before, goal.share(ledger), settings)
    for group in training.optimiser.param_groups:
        group["lr"] = rate
    training.optimiser.step()
    clear_gradients(training.parameters)
    seconds = team.from_first(lambda: time.perf_counter() - started)
    ledger = replace(ledger, train_s=state.ledger.train_s + seconds)
    speed = len(batch.labels_N) / seconds
    units = goal.units_done(ledger) - goal.units_done(state.ledger)
    context.step.advance(units, f"loss {loss:.3f}, {speed:.0f} supervised tokens/s")
    context.journal.log(
        {
            "loss": loss,
            "learning_rate": rate,
            "gradient_norm": norm,
            "supervised_tokens_per_second": speed,
        },
        state.step + 1,
    )
    return replace(state, step=state.step + 1, ledger=ledger, loss=loss)


def _not_finite(training: _Training, state: Checkpoint, loss: float, norm: float) -> UserError:
    training.save(state)
    training.context.team.wait()  # so no process ends the others while the first writes
    advice = "Lower the learning_rate."
    if state.step == 0:
        advice = "This is the first step: check the loss itself for log 0, division by 0 or an inf."
    return UserError(
        f"The loss is {loss} and its gradient's norm {norm} at step {state.step + 1}; the weights "
        f"before that step are kept in {training.context.scratch}. {advice}"
    )


def _validate(context: TrainingContext, state: Checkpoint) -> Checkpoint:
    """Return the state with the criterion's value; save the weights if it is the best so far."""
    criterion = context.criterion
    assert criterion is not None, "a training needs a criterion"
    with autocast(context):
        if context.sharded:  # all processes put its layers together
            measured = criterion.measure(context.draft)
            value = context.team.from_first(lambda: measured)
        else:
            value = context.team.from_first(lambda: criterion.measure(context.draft))
    if not math.isfinite(value):
        raise UserError(
            f"The {criterion.name} is {value} at step {state.step}: the weights of the draft or of "
            "the target are faulty, or the learning_rate is too high."
        )
    context.journal.log({criterion.name: value}, state.step)
    best = criterion.improves(value, [point[criterion.name] for point in state.history])
    point = {"step": float(state.step), criterion.name: value}
    if state.loss is not None:
        point["loss"] = state.loss
    state = replace(state, history=(*state.history, point))
    if best:
        state = replace(state, best=state.step)
        writes = context.team.is_first
        save_best(context.scratch, state.step, context.draft.model, writes=writes)
    return state
