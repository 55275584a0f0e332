"""Tests of differences: parity, level, power; groups of contenders that cannot be told apart."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from draftmark.analysis.significance import (
    PairedTest,
    first_true,
    group_letters,
    holm_adjusted,
    least_p,
    noncentrality,
    sign_flip_p,
    t_test,
)
from draftmark.analysis.statistics import Effect, estimate_effect


def test_the_paired_test_is_a_paired_t_test_where_denominators_are_one() -> None:
    generator = np.random.default_rng(4)
    first, second = generator.normal(0.3, 1, 40), generator.normal(0, 1, 40)
    ones = np.ones(40)
    found = t_test(estimate_effect([(first, ones)], [(second, ones)]))
    assert found.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert found.found.standard_error == pytest.approx((first - second).std(ddof=1) / np.sqrt(40))


def test_the_paired_test_holds_its_level_and_has_the_power_that_it_says() -> None:
    """Under no difference it errs in 5 % of experiments; at `detectable` it finds 80 %."""
    generator = np.random.default_rng(5)

    def experiment(gain: float) -> PairedTest:
        lengths = generator.integers(30, 150, size=60).astype(float)
        easy = generator.uniform(0.4, 0.8, size=60)
        noise = generator.normal(0, 0.05, size=(2, 60))
        first = lengths * (easy + gain + noise[0])
        second = lengths * (easy + noise[1])
        return t_test(estimate_effect([(first, lengths)], [(second, lengths)]))

    trials = 600
    errors = sum(experiment(0.0).p_value < 0.05 for _ in range(trials))
    assert stats.binomtest(errors, trials, 0.05).pvalue > 1e-3
    gain = float(np.mean([experiment(0.0).detectable for _ in range(50)]))
    found = sum(experiment(gain).p_value < 0.05 for _ in range(trials))
    assert 0.74 < found / trials < 0.86


@pytest.mark.parametrize(
    ("effect", "prompts"), [(2.0, 6), (1.3, 7), (1.0, 10), (0.7, 19), (0.3, 90), (0.05, 3142)]
)
def test_the_prompts_needed_are_those_of_an_independent_solver(effect: float, prompts: int) -> None:
    """statsmodels 0.15, TTestPower().solve_power(effect, power=0.8, alpha=0.05); 5 at 2.0."""
    test = PairedTest(1.0, Effect(0.0, 1 / 8, 63, 64))  # a standard deviation of 1 over 64 prompts
    assert test.prompts_needed(effect) == prompts
    assert test.prompts_needed(-effect) == test.prompts_needed(effect)


def test_below_6_prompts_no_difference_is_found_however_large() -> None:
    assert PairedTest(1.0, Effect(5.0, 1e-3, 63, 64)).prompts_needed(5.0) == 6
    for n, p in ((5, 1 / 16), (6, 1 / 32)):
        tops, ones = np.array([5.0, *[5.001] * (n - 1)]), np.ones(n)
        assert t_test(estimate_effect([(tops, ones)], [(0 * ones, ones)])).p_value == p


def test_the_detectable_difference_needs_the_prompts_that_there_are() -> None:
    for n in (6, 10, 64):
        test = PairedTest(1.0, Effect(0.0, 0.01, n - 1, n))
        assert test.detectable is not None
        assert test.prompts_needed(test.detectable * (1 + 1e-6)) == n
        assert test.prompts_needed(test.detectable * (1 - 1e-6)) == n + 1


class TestInterval:
    """Of a difference of 1 or -1 with the standard error 0.1: the t interval has 0 outside."""

    @pytest.mark.parametrize("level", [0.05, 0.01])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_zero_is_inside_unless_p_is_below_the_level(self, sign: int, level: float) -> None:
        found = Effect(1.0 * sign, 0.1, 9, 10)
        half = 0.1 * float(stats.t.ppf(1 - level / 2, 9))
        significant = PairedTest(level / 2, found).number("what", level)
        assert (significant.low, significant.high) == pytest.approx((sign - half, sign + half))
        assert (significant.n, significant.definition) == (10, "what")
        for p in (level, 0.5):
            number = PairedTest(p, found).number("what", level)
            expected = (0.0, 1 + half) if sign > 0 else (-1 - half, 0.0)
            assert (number.low, number.high) == pytest.approx(expected)

    def test_an_unknown_error_has_no_interval(self) -> None:
        number = PairedTest(1.0, Effect(1.0, math.inf, 1, 10)).number("")
        assert (number.value, number.low, number.high) == (1.0, None, None)


def test_a_large_difference_needs_more_than_one_effective_prompt() -> None:
    """Of 60 prompts that weigh as 15, 6 weigh as 1.5."""
    test = PairedTest(1.0, Effect(0.0, 1e-6, 14, 60, effective=15))
    assert test.prompts_needed(1.0) == 6


@pytest.mark.parametrize("degrees", [1.0, 1.5, 4.0, 300.0])
def test_the_noncentrality_has_power_0_8_at_any_degrees_of_freedom(degrees: float) -> None:
    critical = stats.t.ppf(0.975, degrees)
    assert stats.nct.sf(critical, degrees, noncentrality(degrees)) == pytest.approx(0.8, abs=1e-9)


def test_unequal_prompts_detect_as_their_effective_number() -> None:
    # 64 prompts that weigh as 16: the spread of 16, so four times the prompts are needed.
    effect = Effect(0.0, 1 / 4, 15, 64, effective=16.0)
    equal = PairedTest(1.0, Effect(0.0, 1 / 4, 15, 16))
    needed = PairedTest(1.0, effect).prompts_needed(0.5)
    assert needed is not None
    assert needed == pytest.approx(4 * (equal.prompts_needed(0.5) or 0), abs=4)


def test_a_test_of_one_effective_prompt_finds_nothing() -> None:
    lost = PairedTest(1.0, Effect(0.5, math.inf, 1.0, 8, effective=1.0))
    assert lost.prompts_needed(0.5) is None
    assert noncentrality(0.5) > 100
    assert noncentrality(1e-9) == math.inf


def test_prompts_on_which_methods_agree_say_nothing_about_a_sign() -> None:
    """5 of 64 prompts differ, all one way: p is that of 5 signs, not of 64."""
    ones = np.ones(64)
    tops = np.array([0.3, 0.31, 0.32, 0.29, 0.3, *[0.0] * 59])
    found = estimate_effect([(tops, ones)], [(0 * ones, ones)])
    assert found.differing_n == 5
    assert t_test(found).p_value == 1 / 16
    assert stats.ttest_1samp(tops, 0).pvalue < 1 / 16


def test_no_p_value_is_below_what_the_number_of_prompts_allows() -> None:
    ones = np.ones(2)
    found = t_test(estimate_effect([(ones, 2 * ones)], [(0 * ones, 2 * ones)]))
    assert found.p_value == 0.5
    assert [least_p(n) for n in (0, 1, 2, 6)] == [1, 1, 0.5, 1 / 32]


@pytest.mark.parametrize("least", [1, 2, 3, 4, 5, 8, 9, 999, 1024])
def test_the_first_number_that_is_enough_is_found(least: int) -> None:
    assert first_true(lambda n: n >= least, 1024) == least
    assert first_true(lambda n: n >= least, 1023) == (least if least < 513 else None)
    assert first_true(lambda n: False, 1024) is None


@pytest.mark.parametrize(
    ("gains", "known"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], False),  # no p of 5 prompts is below 1 / 16
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], True),
        ([0.5] * 8, False),  # whatever 8 experiments would find, these show no spread
    ],
)
def test_a_difference_is_detectable_if_a_p_value_and_a_spread_allow_it(
    gains: list[float], known: bool
) -> None:
    ones = np.ones(len(gains))
    found = t_test(estimate_effect([(np.array(gains), ones)], [(0 * ones, ones)]))
    assert (found.detectable is not None) is known


def test_two_equal_methods_do_not_differ() -> None:
    values, ones = np.array([1.0, 2.0, 3.0]), np.ones(3)
    found = t_test(estimate_effect([(values, ones)], [(values, ones)]))
    assert (found.p_value, found.detectable) == (1.0, 0.0)


@pytest.mark.parametrize(("gained", "lost"), [(9, 1), (1, 9), (0, 5), (4, 4), (0, 0), (300, 350)])
def test_with_one_seed_the_sign_flip_test_is_mcnemars(gained: int, lost: int) -> None:
    first = np.array([1.0] * gained + [0.0] * lost + [1.0] * 50)
    second = np.array([0.0] * gained + [1.0] * lost + [1.0] * 50)
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert sign_flip_p([first], [second]) == pytest.approx(expected)


@pytest.mark.parametrize("seeds", [(3, 3), (2, 3), (1, 2)])
def test_over_seeds_the_sign_flip_test_is_the_permutation_test_by_prompt(
    seeds: tuple[int, int],
) -> None:
    generator = np.random.default_rng(sum(seeds))
    sides = [generator.integers(0, 2, (n, 9)).astype(float) for n in seeds]
    differences = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    exact = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(*sides) == pytest.approx(exact.pvalue)


def test_holm_is_stepwise_and_never_lets_a_smaller_p_end_above_a_larger() -> None:
    assert holm_adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm_adjusted([]) == []
    # In R: p.adjust(c(0.5, 0.01, 0.04, 0.03, 0.01), "holm")
    expected = [0.5, 0.05, 0.09, 0.09, 0.05]
    assert holm_adjusted([0.5, 0.01, 0.04, 0.03, 0.01]) == pytest.approx(expected)
    assert holm_adjusted([0.9, 0.8]) == [1.0, 1.0]


def test_no_number_of_prompts_finds_a_difference_of_nothing() -> None:
    with pytest.raises(ValueError, match="difference of 0"):
        PairedTest(1.0, Effect(0.0, 0.01, 63, 64)).prompts_needed(0.0)


def test_prompts_needed_is_of_the_drafts_that_there_are() -> None:
    alone = PairedTest(1.0, Effect(0.03, 0.01, 199, 200))
    with_seeds = PairedTest(1.0, Effect(0.03, 5**0.5 * 0.01, 3, 200, seeds_error=0.02))
    assert with_seeds.detectable > 2 * alone.detectable
    assert with_seeds.prompts_needed(0.03) == alone.prompts_needed(0.03)


def test_seeds_that_differ_more_than_methods_make_a_difference_unsure() -> None:
    generator = np.random.default_rng(9)
    noise, ones = generator.normal(0, 0.01, size=50), np.ones(50)
    sure = t_test(estimate_effect([(0.62 + noise, ones)], [(0.60 + 0 * noise, ones)]))
    first = [(shift + noise, ones) for shift in (0.55, 0.62, 0.69)]
    second = [(shift + 0 * noise, ones) for shift in (0.53, 0.60, 0.67)]
    unsure = t_test(estimate_effect(first, second))
    assert sure.p_value < 1e-6
    assert unsure.p_value > 0.5


def test_the_letters_of_a_chain_of_neighbours_overlap() -> None:
    """The first and the third differ, the second is like both."""
    assert group_letters(3, lambda a, b: (a, b) == (0, 2)) == ["a", "ab", "b"]


def test_without_differences_all_share_one_letter() -> None:
    assert group_letters(4, lambda a, b: False) == ["a"] * 4


def test_where_all_differ_each_has_a_letter_in_the_order_of_rank() -> None:
    assert group_letters(3, lambda a, b: True) == ["a", "b", "c"]


def test_a_letter_that_adds_no_shared_one_is_left_out() -> None:
    assert group_letters(3, lambda a, b: a == 0) == ["a", "b", "b"]


@given(st.integers(1, 7), st.data())
def test_two_share_a_letter_exactly_if_they_do_not_differ(number: int, data: st.DataObject) -> None:
    pairs = list(combinations(range(number), 2))
    apart = {pair for pair in pairs if data.draw(st.booleans())}
    found = group_letters(number, lambda a, b: (a, b) in apart)
    assert all(found)
    for a, b in pairs:
        assert bool(set(found[a]) & set(found[b])) == ((a, b) not in apart)
