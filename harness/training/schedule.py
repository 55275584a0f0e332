"""The schedule of a training: rows and learning rate of each step, validations, and the end.

A training ends after its passes, or when its method has spent its budget. A budget covers a whole
method, so earlier costs count: texts that the target read, the training of a reference. Progress is
the ledger's share of the goal. Learning rate and validations depend on progress, not on the number
of steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch

from draftmark.config.model_sections import Optimisation
from draftmark.errors import UserError
from draftmark.types import Ledger

BUCKET = 8  # batches whose rows are sorted by length together
WHOLE = Fraction(1)
_PERCENT = 100


def total_steps(num_rows: int, settings: Optimisation) -> int:
    """Return the number of optimiser steps of the passes in the settings."""
    return max(1, round(settings.passes * math.ceil(num_rows / settings.rows_per_batch)))


def learning_rate(before: Fraction, after: Fraction, settings: Optimisation) -> float:
    """Return the learning rate of a step, from the progress before and after the step.

    Linear warm-up, then constant or a cosine to zero.
    """
    warmup, step = Fraction(str(settings.warmup_fraction)), after - before
    if before < warmup:
        return settings.learning_rate * float(after / (warmup + step))
    if settings.schedule == "constant":
        return settings.learning_rate
    done = float((before - warmup) / max(step, 1 - warmup))
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def is_validation_step(before: Fraction, after: Fraction, settings: Optimisation) -> bool:
    """True if a validation follows the step: at equal shares of the training, and at its end."""
    parts = settings.validations
    return math.floor(after * parts) > math.floor(before * parts)


def order_of_pass(lengths: Sequence[int], rows: int, *, seed: int, number: int) -> list[list[int]]:
    """Return one pass's batches of row indices: shuffled, grouped by length, shuffled again."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    shuffled = torch.randperm(len(lengths), generator=generator).tolist()
    ordered: list[int] = []
    for start in range(0, len(shuffled), rows * BUCKET):
        bucket = shuffled[start : start + rows * BUCKET]
        ordered += sorted(bucket, key=lengths.__getitem__)
    batches = [ordered[start : start + rows] for start in range(0, len(ordered), rows)]
    return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


@dataclass(frozen=True)
class Goal:
    """The amount of a ledger's quantity that ends a training, after the step that reaches it."""

    quantity: str
    amount: Fraction
    units: int  # steps of the progress bar

    def share(self, ledger: Ledger) -> Fraction:
        """Return the progress in a training's ledger: 0 at the start, 1 or more when done."""
        return Fraction(getattr(ledger, self.quantity)) / self.amount

    def units_done(self, ledger: Ledger) -> int:
        """Return the progress in units."""
        return min(self.units, int(self.share(ledger) * self.units))


def training_goal(
    settings: Optimisation,
    num_rows: int,
    *,
    live: bool,
    spent: Ledger,
    part: Fraction = WHOLE,
) -> Goal:
    """Return the goal of a training that may take `part` of the rest of its method's budget.

    `spent` is the method's ledger before this training. `live` is True if the target reads texts
    during training; otherwise its tokens are already spent, so under a budget of target tokens the
    passes end the training. Raises UserError if the budget is used up.
    """
    budget, steps = settings.budget, total_steps(num_rows, settings)
    passes = Goal("steps", Fraction(steps), steps)
    if budget is None:
        return passes
    left = Fraction(budget.amount) - Fraction(getattr(spent, budget.quantity))
    if budget.limit == "target_forward_tokens" and not live and left >= 0:
        return passes
    if left <= 0:
        advice = "by the method's earlier training; raise it, or shorten the earlier training"
        if budget.limit == "target_forward_tokens":
            advice = (
                "on texts that the target wrote or read as teacher; raise it, or lower "
                "data.train_rows and data.validation_rows"
            )
        raise UserError(
            f"training.budget: {budget.limit} = {budget.amount:g} is used up before this training: "
            f"{float(getattr(spent, budget.quantity)):g} are spent, {advice}."
        )
    return Goal(budget.quantity, left * part, _PERCENT)
