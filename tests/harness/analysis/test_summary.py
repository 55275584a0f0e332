"""Several seeds pooled: never surer than their prompts allow, shares never outside 0 to 1."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from draftmark.analysis.quantities import Quantity
from draftmark.analysis.summary import pool_seeds
from draftmark.results import Number


def _quantity(*values: float) -> Quantity:
    prompts = tuple(f"{index}" for index in range(len(values)))
    return Quantity((np.array(values), np.ones(len(values))), "a mean", prompts)


def test_seeds_that_agree_on_every_prompt_say_what_one_of_them_says() -> None:
    none = _quantity(*[0.0] * 64)

    number = pool_seeds([{"share": none}, {"share": none}])["share"]

    assert (number.value, number.low) == (0, 0)
    assert number.high == pytest.approx(0.057, abs=1e-3)


def test_an_interval_of_a_share_stays_within_0_and_1() -> None:
    seeds = [{"share": _quantity(0, 0, 0, 1)}, {"share": _quantity(1, 1, 1, 1)}]

    number = pool_seeds(seeds)["share"]

    assert number.value == 0.625
    assert number.low is not None
    assert number.high is not None
    assert 0 <= number.low < 0.1
    assert 0.9 < number.high <= 1


def test_an_interval_of_another_mean_is_not_cut() -> None:
    seeds = [{"mean": _quantity(0, 0, 0, 1.5)}, {"mean": _quantity(1, 1, 1, 1)}]

    number = pool_seeds(seeds)["mean"]

    assert number.low is not None
    assert number.low < 0


def test_seeds_of_different_prompts_are_not_pooled() -> None:
    other = Quantity((np.ones(1), np.ones(1)), "a mean", ("another",))

    with pytest.raises(ValueError, match="different prompts"):
        pool_seeds([{"x": _quantity(1)}, {"x": other}])


def test_numbers_that_were_stored_without_an_effective_number_still_load() -> None:
    old = '{"value": 0.5, "low": 0.4, "high": 0.6, "n": 8, "definition": "a mean"}'
    assert TypeAdapter(Number).validate_json(old) == Number(0.5, 0.4, 0.6, 8, "a mean", None)


def test_the_speedup_of_a_draft_that_no_seed_changes_is_the_one_that_was_measured() -> None:
    """Seeds that agree to the bit, as those of a lookup, do not make it certain."""
    once, other = (Number(value, value - 0.2, value + 0.1, 9, "speedup") for value in (1.5, 1.6))
    quantities = [{"share": _quantity(0, 1)}] * 2

    assert pool_seeds(quantities, [once, once])["speedup"] == once
    assert pool_seeds(quantities, [once, other])["speedup"].n == 2
