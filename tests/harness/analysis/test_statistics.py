"""Intervals: coverage on simulated laws, pairing, and what has no interval."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from draftmark.analysis import statistics


def test_a_ratio_is_pooled_before_it_is_divided() -> None:
    number = statistics.estimate_ratio([1.0, 9.0], [2.0, 10.0], "")
    assert number.value == pytest.approx(10 / 12)


def test_the_interval_of_a_ratio_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    truth, hits, trials = 0.7, 0, 100
    for _ in range(trials):
        lengths = generator.integers(20, 200, size=60).astype(float)
        rates = generator.beta(14, 6, size=60)  # mean 0.7: prompts differ, so tokens are not alike
        number = statistics.estimate_ratio(lengths * rates, lengths, "")
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
    assert statistics.estimate_mean(values, "") == statistics.estimate_mean(values, "")


def test_the_bootstrap_of_a_mean_is_as_wide_as_students_interval() -> None:
    values = np.random.default_rng(6).normal(0, 1, 12)
    number = statistics.estimate_mean(values, "")
    assert number.low is not None
    assert number.high is not None
    expected = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert number.high - number.low == pytest.approx(expected[1] - expected[0], rel=0.1)


def test_a_share_of_none_is_not_certain_to_be_zero() -> None:
    number = statistics.estimate_share([0.0] * 64, "")
    assert (number.value, number.low) == (0.0, 0.0)
    assert number.high == pytest.approx(0.0566, abs=1e-3)  # Wilson: z^2 / (n + z^2)


def test_one_prompt_has_no_interval() -> None:
    number = statistics.estimate_mean([0.5], "")
    assert (number.low, number.high, number.n) == (None, None, 1)


def test_a_statistic_that_no_prompt_moves_has_an_interval_of_no_width() -> None:
    number = statistics.estimate_ratio([3.0] * 5, [3.0] * 5, "")
    assert (number.value, number.low, number.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("numerators", "denominators"), [([], []), ([1.0], [0.0]), ([1.0, 2.0], [1.0])]
)
def test_a_rate_of_nothing_is_an_error(numerators: list[float], denominators: list[float]) -> None:
    with pytest.raises(ValueError, match=r"denominators"):
        statistics.estimate_ratio(numerators, denominators, "")


def test_a_share_of_no_prompts_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs prompts, got none"):
        statistics.estimate_share([], "")


def test_unpaired_records_are_an_error() -> None:
    ones = np.ones(3)
    with pytest.raises(ValueError, match="not paired"):
        statistics.ratio_difference((ones, ones), (np.ones(2), np.ones(2)), "")


def test_several_seeds_are_a_mean_of_their_ratios() -> None:
    ones = np.ones(4)
    number = statistics.over_seeds([(0.5 * ones, ones), (0.7 * ones, ones)], "")
    assert number.value == pytest.approx(0.6)


def test_of_seeds_alone_the_interval_is_students() -> None:
    """No prompt differs from another, so all the spread is that of the seeds."""
    ones, values = np.ones(10), [0.5, 0.6, 0.55]
    number = statistics.over_seeds([(value * ones, ones) for value in values], "")
    assert number.low is not None
    assert number.high is not None
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (number.low, number.high) == pytest.approx(expected)


def test_one_seed_against_one_is_the_paired_bootstrap() -> None:
    generator = np.random.default_rng(7)
    first, second, ones = generator.random(20), generator.random(20), np.ones(20)
    found = statistics.estimate_difference([(first, ones)], [(second, ones)], "")
    assert found == statistics.ratio_difference((first, ones), (second, ones), "")


@pytest.mark.slow
def test_intervals_over_three_seeds_cover_and_a_bootstrap_of_seeds_does_not() -> None:
    """Seeds as spread out as the error over prompts: 1,000 experiments of 3 seeds, 60 prompts."""
    generator = np.random.default_rng(8)
    hits, naive, trials, ones = 0, 0, 1000, np.ones(60)
    for _ in range(trials):
        prompts = generator.normal(0, 0.15, size=60)
        seeds = [
            (0.6 + shift + prompts + generator.normal(0, 0.05, size=60), ones)
            for shift in generator.normal(0, 0.03, size=3)
        ]
        number = statistics.over_seeds(seeds, "")
        assert number.low is not None
        assert number.high is not None
        hits += number.low <= 0.6 <= number.high
        values = np.stack([top for top, _ in seeds])
        again = [
            values[np.ix_(generator.integers(0, 3, 3), generator.integers(0, 60, 60))].mean()
            for _ in range(199)
        ]
        low, high = np.quantile(again, [0.025, 0.975])
        naive += low <= 0.6 <= high
    print({"over seeds": hits / trials, "bootstrap of seeds and prompts": naive / trials})
    assert 0.93 <= hits / trials <= 0.98
    assert naive / trials < 0.92


@pytest.mark.parametrize("common", [0.0, 0.03])
def test_intervals_of_differences_paired_on_seeds_cover(common: float) -> None:
    """1,000 experiments of 3 seeds and 60 prompts; seeds move both methods together, or not."""
    generator = np.random.default_rng(9)
    hits, trials, ones = 0, 1000, np.ones(60)
    for _ in range(trials):
        prompts = generator.normal(0, 0.15, size=60)
        both = generator.normal(0, common, size=3)

        def seeds(mean: float, prompts: Any = prompts, both: Any = both) -> list[Any]:
            own = generator.normal(0, 0.03, size=3)
            noise = generator.normal(0, 0.05, size=(3, 60))
            return [(mean + both[k] + own[k] + prompts + noise[k], ones) for k in range(3)]

        found = statistics.estimate_difference(seeds(0.62), seeds(0.60), "", paired_seeds=True)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.02 <= found.high
    assert 0.93 <= hits / trials <= 0.98
