"""When a training ends: after its passes, or when its method has spent its budget.

A budget is of a whole method: what it spent before this training counts, be it the target's reading
of the texts or the training of a reference. How far a training is, is the share of its goal that
its ledger shows, so the learning rate and the validations need not know how many steps there are.
"""

from dataclasses import dataclass
from fractions import Fraction

from draftmark.config.model_sections import Optimisation
from draftmark.errors import UserError
from draftmark.training.schedule import total_steps
from draftmark.types import Ledger

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
