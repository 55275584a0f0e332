"""Budgets: what ends a training, what counts towards it, and how the schedule fits it."""

from dataclasses import replace
from fractions import Fraction
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.config.model_sections import Budget, FineTuning, Limit, Training
from draftmark.errors import UserError
from draftmark.training.schedule import is_validation_step, learning_rate, training_goal
from draftmark.types import Ledger

SHARES = st.lists(st.fractions(0, 1), min_size=1, max_size=20, unique=True).map(sorted)


def _budget(**limits: Any) -> Training:
    return Training(budget=Budget(**limits), rows_per_batch=4, passes=2)


def test_without_a_budget_passes_end_a_training() -> None:
    found = training_goal(
        Training(passes=2, rows_per_batch=4), 10, live=False, spent=Ledger(steps=99)
    )
    assert (found.quantity, found.amount, found.units) == ("steps", 6, 6)


@pytest.mark.parametrize("limit", get_args(Limit))
def test_what_a_method_spent_before_counts(limit: Limit) -> None:
    settings = _budget(**{limit: 100})
    quantity = settings.budget.quantity if settings.budget else ""
    found = training_goal(settings, 10, live=True, spent=replace(Ledger(), **{quantity: 40}))
    assert found.quantity == quantity
    assert found.share(replace(Ledger(), **{quantity: 45})) == Fraction(3, 4)
    assert found.units_done(replace(Ledger(), **{quantity: 45})) == 75


def test_a_training_before_another_takes_its_part_of_what_is_left() -> None:
    spent, settings = Ledger(steps=20), _budget(steps=100)
    found = training_goal(settings, 10, live=False, spent=spent, part=Fraction(1, 2))
    assert found.amount == 40


@pytest.mark.parametrize("limit", get_args(Limit))
def test_a_budget_that_is_used_up_before_says_so(limit: Limit) -> None:
    settings = _budget(**{limit: 100})
    quantity = settings.budget.quantity if settings.budget else ""
    with pytest.raises(UserError, match=f"{limit} = 100 is used up before .* 100 are spent"):
        training_goal(settings, 10, live=True, spent=replace(Ledger(), **{quantity: 100}))


def test_what_the_target_read_before_may_be_all_of_its_budget_if_it_reads_no_more() -> None:
    settings = _budget(target_forward_tokens=100)
    found = training_goal(settings, 10, live=False, spent=Ledger(target_forward_tokens=100))
    assert (found.quantity, found.amount) == ("steps", 6)
    with pytest.raises(UserError, match=r"raise it, or lower data\.train_rows"):
        training_goal(settings, 10, live=False, spent=Ledger(target_forward_tokens=101))


@pytest.mark.parametrize("limits", [{}, {"steps": 1, "seconds": 1}])
def test_a_budget_is_of_exactly_one_quantity(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="needs exactly one of steps, supervised_tokens"):
        Budget(**limits)  # type: ignore[arg-type]


def test_a_target_that_is_fine_tuned_has_no_budget_as_a_teacher() -> None:
    with pytest.raises(ValueError, match="use steps, supervised_tokens, flops or seconds"):
        FineTuning(budget=Budget(target_forward_tokens=9))


@given(SHARES, st.integers(1, 6))
def test_as_many_checkpoints_compete_as_shares_are_passed_and_the_last_does(
    shares: list[Fraction], parts: int
) -> None:
    ends = [*(share for share in shares if 0 < share < 1), Fraction(5, 4)]
    settings = Training(validations=parts)
    steps = list(zip([Fraction(0), *ends], ends, strict=False))
    competing = [after for before, after in steps if is_validation_step(before, after, settings)]
    assert competing[-1] == ends[-1]
    assert len(competing) <= parts
    for part in range(1, parts + 1):
        assert next(end for end in ends if end >= Fraction(part, parts)) in competing


@given(SHARES, st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from(["cosine", "constant"]))
def test_the_learning_rate_rises_to_its_height_and_then_falls(
    shares: list[Fraction], warmup: float, schedule: Any
) -> None:
    ends = [share for share in shares if share > 0] or [Fraction(1)]
    settings = Training(warmup_fraction=warmup, schedule=schedule, learning_rate=1e-3)
    steps = list(zip([Fraction(0), *ends], ends, strict=False))
    rates = [(before, learning_rate(before, after, settings)) for before, after in steps]
    assert all(0 <= rate <= 1e-3 + 1e-12 for _, rate in rates)
    falling = [rate for before, rate in rates if before >= Fraction(str(warmup))]
    assert falling == sorted(falling, reverse=True)
