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


def test_the_bootstrap_of_a_mean_is_as_wide_as_students_interval() -> None:
    values = np.random.default_rng(6).normal(0, 1, 12)
    number = statistics.mean(values, "")
    assert number.low is not None
    assert number.high is not None
    expected = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert number.high - number.low == pytest.approx(expected[1] - expected[0], rel=0.1)


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


def test_the_paired_test_is_a_paired_t_test_where_denominators_are_one() -> None:
    generator = np.random.default_rng(4)
    first, second = generator.normal(0.3, 1, 40), generator.normal(0, 1, 40)
    ones = np.ones(40)
    found = statistics.paired_test((first, ones), (second, ones))
    assert found.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert found.standard_error == pytest.approx((first - second).std(ddof=1) / np.sqrt(40))


def test_the_paired_test_holds_its_level_and_has_the_power_that_it_says() -> None:
    """Under no difference it errs in 5 % of experiments; at `detectable` it finds 80 %."""
    generator = np.random.default_rng(5)

    def experiment(gain: float) -> statistics.PairedTest:
        lengths = generator.integers(30, 150, size=60).astype(float)
        easy = generator.uniform(0.4, 0.8, size=60)
        noise = generator.normal(0, 0.05, size=(2, 60))
        first = lengths * (easy + gain + noise[0])
        return statistics.paired_test((first, lengths), (lengths * (easy + noise[1]), lengths))

    trials = 600
    errors = sum(experiment(0.0).p_value < 0.05 for _ in range(trials))
    assert stats.binomtest(errors, trials, 0.05).pvalue > 1e-3
    gain = float(np.mean([experiment(0.0).detectable for _ in range(50)]))
    found = sum(experiment(gain).p_value < 0.05 for _ in range(trials))
    assert 0.74 < found / trials < 0.86


def test_prompts_needed_is_what_makes_a_difference_detectable() -> None:
    found = statistics.PairedTest(p_value=1.0, standard_error=0.01, n=64)
    assert found.prompts_needed(found.detectable) == 64
    assert found.prompts_needed(found.detectable / 2) == 256


def test_two_equal_methods_do_not_differ() -> None:
    values, ones = np.array([1.0, 2.0, 3.0]), np.ones(3)
    found = statistics.paired_test((values, ones), (values, ones))
    assert (found.p_value, found.detectable) == (1.0, 0.0)


def test_mcnemar_counts_only_the_prompts_on_which_two_methods_disagree() -> None:
    first = [1.0] * 9 + [0.0] + [1.0] * 50
    second = [0.0] * 9 + [1.0] + [1.0] * 50
    assert statistics.mcnemar(first, second) == pytest.approx(stats.binomtest(9, 10).pvalue)
    assert statistics.mcnemar([1.0, 0.0], [1.0, 0.0]) == 1.0


def test_holm_is_stepwise_and_never_lets_a_smaller_p_end_above_a_larger() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]) == []
