"""Intervals in closed form: rates, differences, seeds, bounds, and what has no interval."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from draftmark.analysis import statistics
from draftmark.analysis.intervals import log_ratio_interval, median_interval
from draftmark.analysis.significance import t_test
from draftmark.results import Number


def test_a_ratio_is_pooled_before_it_is_divided() -> None:
    number = statistics.estimate_ratio([1.0, 9.0], [2.0, 10.0], "")
    assert number.value == pytest.approx(10 / 12)


def test_the_same_records_print_the_same_interval() -> None:
    values = np.random.default_rng(3).random(30)
    assert statistics.estimate_mean(values, "") == statistics.estimate_mean(values, "")


def _ends(number: Number) -> tuple[float, float]:
    assert number.low is not None
    assert number.high is not None
    return number.low, number.high


@pytest.mark.parametrize("n", [2, 3, 12])
def test_the_interval_of_a_mean_without_bounds_is_students(n: int) -> None:
    values = np.random.default_rng(6).normal(-9, 1, n)
    expected = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    assert _ends(statistics.estimate_mean(values, "")) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("bounds", "scale", "back"),
    [
        ((1.0, 5.0), lambda x: np.log((x - 1) / (5 - x)), lambda y: 1 + 4 / (1 + np.exp(-y))),
        (statistics.POSITIVE, np.log, np.exp),
    ],
)
def test_the_interval_of_a_bounded_rate_is_the_jackknifes_on_its_scale(
    bounds: Any, scale: Any, back: Any
) -> None:
    tops, bottoms = np.array([9.0, 30.0, 44.0, 52.0]), np.array([4.0, 20.0, 18.0, 40.0])
    rate = tops.sum() / bottoms.sum()
    without = scale(
        np.array([np.delete(tops, i).sum() / np.delete(bottoms, i).sum() for i in range(4)])
    )
    error = np.sqrt(3 / 4 * ((without - without.mean()) ** 2).sum())
    effective = bottoms.sum() ** 2 / (bottoms**2).sum()
    half = stats.t.ppf(0.975, effective - 1) * error
    number = statistics.estimate_ratio(tops, bottoms, "", bounds)
    assert (number.n, number.effective) == (4, pytest.approx(effective))
    assert _ends(number) == pytest.approx((back(scale(rate) - half), back(scale(rate) + half)))


def test_a_share_of_tokens_has_the_bounds_0_and_1_without_being_asked() -> None:
    counts = [3.0, 0.0, 2.0], [3.0, 5.0, 9.0]
    given, guessed = (statistics.estimate_ratio(*counts, "", b) for b in ((0.0, 1.0), None))
    assert given == guessed
    assert 0 < _ends(guessed)[0] < 5 / 17 < _ends(guessed)[1] < 1


def test_of_equal_prompts_all_are_effective_and_of_one_long_one_hardly_more() -> None:
    ones = np.ones(7)
    assert statistics.effective_number((ones, 40 * ones)) == pytest.approx(7)
    assert statistics.effective_number((ones, np.array([1e9, *[1.0] * 6]))) == pytest.approx(1)
    assert statistics.effective_number((ones, np.array([3.0, 1, 0, 0, 0, 0, 0]))) == 1.6


def test_a_prompt_with_all_the_tokens_leaves_nothing_known() -> None:
    number = statistics.estimate_ratio([7.0, 0.0, 0.0], [9.0, 0.0, 0.0], "")
    assert (number.value, number.effective) == (pytest.approx(7 / 9), 1)
    low, high = _ends(number)
    assert low < 0.03
    assert high > 0.99
    found = statistics.estimate_effect(
        [(np.array([7.0, 0, 0]), np.array([9.0, 0, 0]))], [(np.zeros(3), np.array([9.0, 0, 0]))]
    )
    assert found.interval() == (-1, 1)
    assert t_test(found).p_value == 1


@pytest.mark.parametrize(("tokens", "low", "high"), [(0.0, 0.0, 0.3694), (40.0, 0.6306, 1.0)])
def test_none_of_320_tokens_on_8_prompts_is_not_certain_to_be_none(
    tokens: float, low: float, high: float
) -> None:
    """8 prompts of one kind: a share below 1 - 0.025^(1/8) may be of another kind."""
    number = statistics.estimate_ratio([tokens] * 8, [40.0] * 8, "")
    assert _ends(number) == pytest.approx((low, high), abs=1e-4)


def test_one_accepted_token_of_one_prompt_has_the_interval_of_one_share_of_a_prompt() -> None:
    number = statistics.estimate_ratio([1.0, 0, 0, 0], [40.0] * 4, "")
    low, high = _ends(number)
    assert low == pytest.approx(stats.beta.ppf(0.025, 0.025, 4.975))
    assert high == pytest.approx(stats.beta.ppf(0.975, 1.025, 3.975))


def test_a_rate_that_all_prompts_share_is_only_known_of_such_prompts() -> None:
    number = statistics.estimate_ratio([5.0] * 8, [10.0] * 8, "")
    assert _ends(number) == pytest.approx((0.5 - 0.5 * 0.3694, 0.5 + 0.5 * 0.3694), abs=1e-4)


@pytest.mark.parametrize("rate", [1 / 3, 1e-6])
def test_rounding_is_no_difference_between_prompts(rate: float) -> None:
    lengths = np.random.default_rng(10).integers(20, 2000, 500).astype(float)
    number = statistics.estimate_ratio(rate * lengths, lengths, "")
    others = 1 - 0.025 ** (1 / statistics.effective_number((lengths, lengths)))
    assert _ends(number) == pytest.approx((rate * (1 - others), rate + others * (1 - rate)))
    double = statistics.estimate_effect(
        [(2 * rate * lengths, lengths)], [(rate * lengths, lengths)]
    )
    assert double.standard_error == 0


def test_what_counts_as_rounding_is_relative_to_the_larger_rate() -> None:
    lengths = np.random.default_rng(11).integers(20, 2000, 50).astype(float)
    tiny = statistics.estimate_effect([(np.array([-1e-15, -2e-15, -3e-15]), np.ones(3))])
    assert tiny.standard_error == pytest.approx(1e-15 / 3**0.5)
    large, none = [(-1e6 / 3 * lengths, lengths)], [(0 * lengths, lengths)]
    assert statistics.estimate_effect(large, none).standard_error == 0
    assert statistics.estimate_effect(none, large).standard_error == 0


def test_a_share_has_clopper_and_pearsons_interval() -> None:
    for count, n in ((0, 64), (3, 8), (8, 8)):
        number = statistics.estimate_share([1.0] * count + [0.0] * (n - count), "")
        expected = stats.binomtest(count, n).proportion_ci(method="exact")
        assert _ends(number) == pytest.approx((expected.low, expected.high))
        assert (number.value, number.n) == (count / n, n)


def test_one_prompt_has_no_interval() -> None:
    number = statistics.estimate_mean([0.5], "")
    assert (number.low, number.high, number.n) == (None, None, 1)


def test_an_interval_without_an_upper_end_is_none() -> None:
    """Of a time, known from one long prompt and a short one: 0 to infinity."""
    number = statistics.estimate_ratio([1.0, 900.0], [1.0, 300.0], "", statistics.POSITIVE)
    assert (number.low, number.high) == (None, None)


def test_without_bounds_a_value_that_no_prompt_moves_has_no_interval() -> None:
    number = statistics.estimate_ratio([-0.3] * 5, [0.1] * 5, "")
    assert (number.value, number.low, number.high) == (pytest.approx(-3), None, None)


def test_a_paired_difference_is_tighter_than_the_spread_of_prompts() -> None:
    generator = np.random.default_rng(2)
    lengths = generator.integers(50, 150, size=64).astype(float)
    easy = generator.uniform(0.2, 0.8, size=64)
    noise = generator.normal(0, 0.01, size=64)
    first = (lengths * (easy + 0.05 + noise), lengths)
    difference = statistics.estimate_difference([first], [(lengths * easy, lengths)], "")
    low, high = _ends(difference)
    assert low < 0.05 < high
    assert high - low < 0.01


def test_a_difference_that_all_prompts_share_is_only_known_of_such_prompts() -> None:
    first, second = ([(np.array([top, top]), np.array([2.0, 2.0]))] for top in (1.0, 0.0))
    found = statistics.estimate_effect(first, second)
    others = 1 - 0.025**0.5
    assert found.interval() == pytest.approx((0.5 - others * 1.5, 0.5 + others * 0.5))
    assert statistics.estimate_difference(first, second, "").low == found.interval()[0]
    assert t_test(found).p_value == 0.5  # both signs of two


def test_a_difference_stays_within_the_widest_possible_one() -> None:
    tops, ones = np.array([1.0, 0.0]), np.ones(2)
    share = statistics.estimate_effect([(tops, ones)], [(0 * ones, ones)])
    blocks = statistics.estimate_effect([(4 * tops + 1, ones)], [(ones, ones)], bounds=(1.0, 5.0))
    assert share.interval() == (-1, 1)
    assert blocks.interval() == (-4, 4)


def test_the_jackknife_of_a_difference_counts_what_leaving_out_a_prompt_changes() -> None:
    generator = np.random.default_rng(12)
    sides = [(generator.uniform(0, 9, 6), generator.uniform(1, 20, 6)) for _ in range(2)]

    def difference(keep: Any) -> float:
        (a, b), (c, d) = ((top[keep], bottom[keep]) for top, bottom in sides)
        return float(a.sum() / b.sum() - c.sum() / d.sum())

    rest = np.array([difference(np.arange(6) != i) for i in range(6)])
    found = statistics.estimate_effect(sides[:1], sides[1:])
    weights = np.mean([bottom / bottom.sum() for _, bottom in sides], axis=0)
    assert found.value == pytest.approx(difference(np.arange(6)))
    assert found.standard_error == pytest.approx(np.sqrt(5 / 6 * ((rest - rest.mean()) ** 2).sum()))
    assert found.degrees == pytest.approx(1 / (weights**2).sum() - 1)
    assert (found.n, found.differing_n) == (6, 6)


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
        statistics.estimate_difference([(ones, ones)], [(np.ones(2), np.ones(2))], "")


def test_several_seeds_are_a_mean_of_their_ratios() -> None:
    ones = np.ones(4)
    number = statistics.over_seeds([(0.5 * ones, ones), (0.7 * ones, ones)], "")
    assert number.value == pytest.approx(0.6)


@pytest.mark.parametrize("values", [[1.5, 1.6, 1.55], [1.5, 0.6]])
def test_of_seeds_alone_the_interval_is_students(values: list[float]) -> None:
    """No prompt differs from another, so all the spread is that of the seeds.

    A seed above 1 is no share, so neither are the others.
    """
    ones = np.ones(10)
    number = statistics.over_seeds([(value * ones, ones) for value in values], "")
    assert number.low is not None
    assert number.high is not None
    expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert (number.low, number.high) == pytest.approx(expected)


def test_of_seeds_alone_the_interval_of_a_share_is_students_on_the_scale_of_odds() -> None:
    ones, rates = np.ones(10), np.array([0.9, 0.92, 0.85])
    number = statistics.over_seeds([(rate * ones, ones) for rate in rates], "")
    value, slope = rates.mean(), 1 / rates.mean() + 1 / (1 - rates.mean())
    low, high = stats.t.interval(0.95, 2, np.log(value / (1 - value)), slope * stats.sem(rates))
    assert _ends(number) == pytest.approx((1 / (1 + np.exp(-low)), 1 / (1 + np.exp(-high))))


@pytest.mark.parametrize("tops", [[1.0, 2.0, 5.0], [-1.0, 2.0, 3.0]])
def test_a_ratio_outside_0_and_1_on_one_prompt_is_no_share(tops: list[float]) -> None:
    counts = np.array(tops), np.full(3, 4.0)
    number = statistics.over_seeds([counts], "")
    assert _ends(number) == statistics.estimate_effect([counts]).interval()


def test_prompts_differ_where_the_mean_counts_of_other_numbers_of_seeds_do() -> None:
    one = (np.array([1.0, 2.0, 3.0]), np.full(3, 4.0))
    other = (np.array([1.0, 4.0, 3.0]), np.full(3, 4.0))
    for first, differing in (([one, one], 0), ([one, other], 1)):
        assert statistics.estimate_effect(first, [one]).differing_n == differing
        assert statistics.estimate_effect([one], first).differing_n == differing
    swapped = statistics.estimate_effect([one, other], [other, one])
    assert (swapped.value, swapped.differing_n) == (0, 1)


def test_seeds_are_paired_only_if_that_is_said() -> None:
    ones = np.ones(2)
    sides = [[(row * ones, ones) for row in rates] for rates in ((-3, -2, -4), (-4, -3, -5))]
    apart, paired = (
        statistics.estimate_difference(*sides, "", paired_seeds=paired) for paired in (False, True)
    )
    assert apart == statistics.estimate_difference(*sides, "")
    assert _ends(apart) == pytest.approx(stats.t.interval(0.95, 4, 1, (2 / 3) ** 0.5))
    assert (paired.value, paired.low) == (1, None)  # each seed is better by 1: nothing varies


def test_prompts_and_seeds_share_the_degrees_by_their_variance() -> None:
    generator = np.random.default_rng(7)
    seeds = [(generator.normal(shift, 1, 20), np.ones(20)) for shift in (-9, -8, -7.5)]
    tops = np.array([top for top, _ in seeds])
    parts = [tops.mean(axis=0).var(ddof=1) / 20, tops.mean(axis=1).var(ddof=1) / 3]
    found = statistics.estimate_effect(seeds)
    assert found.standard_error == pytest.approx(np.sqrt(sum(parts)))
    assert found.degrees == pytest.approx(sum(parts) / (parts[0] / 19 + parts[1] / 2))
    assert found.seeds_error == pytest.approx(np.sqrt(parts[1]))


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


def test_ratios_of_times_have_the_ends_of_their_interval() -> None:
    ratios = [1.0, 1.5, 2.0, 1.2, 1.1, 1.4]
    for number, found in (
        (statistics.geometric_mean(ratios, "what"), log_ratio_interval(ratios)),
        (statistics.median_ratio(ratios, "what"), median_interval(ratios)),
    ):
        assert (number.value, number.low, number.high) == found
        assert (number.n, number.definition) == (6, "what")


@pytest.mark.parametrize("of", [statistics.geometric_mean, statistics.median_ratio])
def test_equal_ratios_of_times_have_no_interval(of: Any) -> None:
    number = of([1.5, 1.5, 1.5], "")
    assert (number.value, number.low, number.high) == (pytest.approx(1.5), None, None)
