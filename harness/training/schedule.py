"""Which rows a training takes when, at which learning rate: of the settings and the seed alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch

from draftmark.config.model_sections import Optimisation
from draftmark.errors import UserError
from draftmark.types import Ledger

BUCKET = 8  # batches whose rows are sorted by length together


def total_steps(num_rows: int, settings: Optimisation) -> int:
    """Return the number of optimiser steps of as many passes as the settings say."""
    return max(1, round(settings.passes * math.ceil(num_rows / settings.rows_per_batch)))


def learning_rate(before: Fraction, after: Fraction, settings: Optimisation) -> float:
    """Return the learning rate of a step, by the share of the training done before and after it.

    Linear warm-up, then constant or a cosine to zero.
    """
    warmup, step = Fraction(str(settings.warmup_fraction)), after - before
    if before < warmup:
        return settings.learning_rate * float(after / (warmup + step))
    if settings.schedule == "constant":
        return settings.learning_rate
    done = float((before - warmup) / max(step, 1 - warmup))
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def validates(before: Fraction, after: Fraction, settings: Optimisation) -> bool:
    """Say whether a checkpoint competes after a step: at equal shares of the training, and last."""
    parts = settings.validations
    return math.floor(after * parts) > math.floor(before * parts)


def order_of_pass(lengths: Sequence[int], rows: int, *, seed: int, number: int) -> list[list[int]]:
    """Return the batches of one pass: shuffled, rows of like length together, shuffled again."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    shuffled = torch.randperm(len(lengths), generator=generator).tolist()
    ordered: list[int] = []
    for start in range(0, len(shuffled), rows * BUCKET):
        bucket = shuffled[start : start + rows * BUCKET]
        ordered += sorted(bucket, key=lengths.__getitem__)
    batches = [ordered[start : start + rows] for start in range(0, len(ordered), rows)]
    return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


WHOLE = Fraction(1)
_PERCENT = 100


@dataclass(frozen=True)
class Goal:
    """So much of a quantity of the ledger. The step that reaches it is the last."""

    quantity: str
    amount: Fraction
    units: int  # in how many parts its progress is told

    def share(self, ledger: Ledger) -> Fraction:
        """Return how much of it a training's ledger shows: from 0; done at 1 or above."""
        return Fraction(getattr(ledger, self.quantity)) / self.amount

    def units_done(self, ledger: Ledger) -> int:
        """Return how many of the units are done."""
        return min(self.units, int(self.share(ledger) * self.units))


def goal(
    settings: Optimisation,
    num_rows: int,
    *,
    live: bool,
    spent: Ledger,
    part: Fraction = WHOLE,
) -> Goal:
    """Return what ends a training that may take `part` of what is left of the method's budget.

    `spent` is what the method has cost before, `live` whether the target reads while training goes
    on: where it has read all before, a budget of its reading ends nothing, and passes do. Raises
    UserError if nothing is left.
    """
    budget, steps = settings.budget, total_steps(num_rows, settings)
    passes = Goal("steps", Fraction(steps), steps)
    if budget is None:
        return passes
    left = Fraction(budget.amount) - Fraction(getattr(spent, budget.quantity))
    if budget.limit == "target_forward_tokens" and not live and left >= 0:
        return passes
    if left <= 0:
        raise UserError(
            f"training.budget: {budget.limit} = {budget.amount:g} is used up before this training: "
            f"{float(getattr(spent, budget.quantity)):g} are spent, {_on_what(budget.limit)}."
        )
    return Goal(budget.quantity, left * part, _PERCENT)


def _on_what(limit: str) -> str:
    if limit == "target_forward_tokens":
        return (
            "on texts that the target wrote or read as teacher; raise it, or lower data.train_rows "
            "and data.validation_rows"
        )
    return "on what the method trained before; raise it, or have the method train less before"
