"""The passes of trainings that a budget ends."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from draftmark.config.model_sections import Budget, Limit
from draftmark.pipeline.planning.estimates import Load
from draftmark.types import TrainingRun

_PRICED: tuple[Limit, ...] = ("steps", "supervised_tokens", "flops")


def runs_within(
    budget: Budget | None,
    training_runs: Sequence[TrainingRun],
    load: Load,
    flops: Callable[[TrainingRun], float],
) -> Sequence[TrainingRun]:
    """Return a method's trainings with the passes that spend its budget.

    `load` holds the rows of one pass; `flops` returns those that a training's ledger counts. What
    other budgets allow is not known before a run: there the passes are those of the settings.
    """
    if budget is None or budget.limit not in _PRICED:
        return training_runs
    spent = sum(_spent(budget.limit, run, load, flops) for run in training_runs)
    share = budget.amount / spent
    return [replace(run, passes=share * run.passes) for run in training_runs]


def _spent(
    limit: Limit, run: TrainingRun, load: Load, flops: Callable[[TrainingRun], float]
) -> float:
    if limit == "flops":
        return flops(run)
    if limit == "supervised_tokens":
        return run.passes * load.response_tokens
    return run.passes * load.rows / run.rows_per_batch


def budget_lines(budgets: Iterable[Budget | None]) -> Iterator[str]:
    """Yield what a plan assumes about the budgets of its methods."""
    limits = {budget.limit for budget in budgets if budget}
    if limits - {*_PRICED}:
        yield (
            "- A method with a budget of seconds or of target_forward_tokens is planned by its "
            "`passes`, as if it had no budget."
        )
    if limits:
        yield "- Stored and live states are compared at the settings' `passes`, not at a budget's."
