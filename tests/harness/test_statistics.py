"""Intervals: coverage on simulated laws, pairing, and what has no interval."""

import numpy as np
import pytest
from scipy import stats

from harness import statistics


def test_a_ratio_is_pooled_before_it_is_divided() -> None:
    number = statistics.ratio([1.0, 9.0], [2.0, 10.0], "")
    assert number.value == pytest.approx(10 / 12)


def test_the_interval_of_a_ratio_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    truth, hits, trials = 0.7, 0, 100
    for _ in range(trials):
        lengths = generator.integers(20, 200, size=60).astype(float)
        rates = generator.beta(14, 6, size=60)  # mean 0.7: prompts differ, so tokens are not alike
        number = statistics.ratio(lengths * rates, lengths, "")
        assert number.low is not None
        assert number.high is not None
        hits += number.low <= truth <= number.high
    assert stats.binomtest(hits, trials, 0.95).pvalue > 0.001


def test_a_paired_difference_is_tighter_than_the_spread_of_prompts() -> None:
    generator = np.random.default_rng(2)
    lengths = generator.integers(50, 150, size=64).astype(float)
    easy = generator.uniform(0.2, 0.8, size=64)
    first = (lengths * (easy + 0.05), lengths)
    second = (lengths * easy, lengths)
    difference = statistics.ratio_difference(first, second, "")
    assert difference.value == pytest.approx(0.05)
    assert difference.low == pytest.approx(0.05)
    assert difference.high == pytest.approx(0.05)


def test_the_same_records_print_the_same_interval() -> None:
    values = np.random.default_rng(3).random(30)
    assert statistics.mean(values, "") == statistics.mean(values, "")


def test_a_share_of_none_is_not_certain_to_be_zero() -> None:
    number = statistics.share([0.0] * 64, "")
    assert (number.value, number.low) == (0.0, 0.0)
    assert number.high == pytest.approx(0.0566, abs=1e-3)  # Wilson: z^2 / (n + z^2)


def test_one_prompt_has_no_interval() -> None:
    number = statistics.mean([0.5], "")
    assert (number.low, number.high, number.n) == (None, None, 1)


def test_a_statistic_that_no_prompt_moves_has_an_interval_of_no_width() -> None:
    number = statistics.ratio([3.0] * 5, [3.0] * 5, "")
    assert (number.value, number.low, number.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("numerators", "denominators"), [([], []), ([1.0], [0.0]), ([1.0, 2.0], [1.0])]
)
def test_a_rate_of_nothing_is_an_error(numerators: list[float], denominators: list[float]) -> None:
    with pytest.raises(ValueError, match=r"denominators"):
        statistics.ratio(numerators, denominators, "")


def test_a_share_of_no_prompts_is_an_error() -> None:
    with pytest.raises(ValueError, match="no prompts"):
        statistics.share([], "")


def test_unpaired_records_are_an_error() -> None:
    ones = np.ones(3)
    with pytest.raises(ValueError, match="not paired"):
        statistics.ratio_difference((ones, ones), (np.ones(2), np.ones(2)), "")
