"""Ends of intervals, against closed forms and independent libraries."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from draftmark.analysis.intervals import (
    agreement_interval,
    exact_interval,
    from_scale,
    log_ratio_interval,
    median_interval,
    scale_slope,
    t_interval,
    to_scale,
)
from draftmark.analysis.statistics import geometric_mean, median_ratio

BOUNDS = [(0.0, 1.0), (1.0, 5.0), (-2.0, 3.0), (0.0, math.inf), (1.0, math.inf)]


def test_a_t_interval_has_as_much_error_on_each_side() -> None:
    low, high = t_interval(2.0, 0.5, 4.0)
    assert stats.t.cdf((high - 2.0) / 0.5, 4) == pytest.approx(0.975)
    assert stats.t.cdf((low - 2.0) / 0.5, 4) == pytest.approx(0.025)
    assert stats.norm.cdf(t_interval(0.0, 1.0, 1e9, 0.99)[1]) == pytest.approx(0.99)


@given(st.sampled_from(BOUNDS), st.floats(-20, 20))
def test_a_scale_and_back_is_the_same_value_within_the_bounds(
    bounds: tuple[float, float], scaled: float
) -> None:
    value = from_scale(scaled, bounds)
    assert bounds[0] < value < bounds[1]
    assert to_scale(np.float64(value), bounds) == pytest.approx(scaled, abs=1e-5)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_the_slope_of_a_scale_is_its_derivative(bounds: tuple[float, float]) -> None:
    value, step = bounds[0] + 0.7, 1e-6
    ends = to_scale(np.array([value - step, value + step]), bounds)
    assert scale_slope(value, bounds) == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-6)
    assert scale_slope(bounds[0], bounds) == math.inf
    assert to_scale(np.float64(bounds[0]), bounds) == -math.inf


def test_more_than_a_float_holds_is_infinite() -> None:
    assert from_scale(1e4, (0.0, math.inf)) == math.inf
    assert from_scale(1e4, (0.0, 1.0)) == 1.0
    assert from_scale(699.0, (0.0, math.inf)) == pytest.approx(math.exp(699))


@pytest.mark.parametrize(("count", "n"), [(0, 8), (8, 8), (3, 8), (1, 200), (1.7, 6.4)])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (1.0, 5.0)])
def test_an_exact_interval_is_clopper_and_pearsons_on_the_bounds(
    count: float, n: float, bounds: tuple[float, float]
) -> None:
    width = bounds[1] - bounds[0]
    expected = [0.0, 1.0]  # a beta distribution's quantiles, where the share is not at a bound
    if count > 0:
        expected[0] = stats.beta(count, n - count + 1).ppf(0.025)
    if count < n:
        expected[1] = stats.beta(count + 1, n - count).ppf(0.975)
    if isinstance(count, int):
        known = stats.binomtest(count, int(n)).proportion_ci(method="exact")
        assert (known.low, known.high) == pytest.approx(tuple(expected))
    found = exact_interval(bounds[0] + width * count / n, bounds, n)
    assert found == pytest.approx([bounds[0] + width * end for end in expected])


def test_what_a_rounding_error_takes_beyond_a_bound_is_at_the_bound() -> None:
    assert exact_interval(1 + 1e-12, (0.0, 1.0), 8) == exact_interval(1.0, (0.0, 1.0), 8)


@pytest.mark.parametrize("n", [2, 8, 100])
def test_units_that_agree_leave_room_for_others(n: int) -> None:
    """If a share q of units is unlike these, n units agree with probability (1 - q)^n = 0.025."""
    low, high = agreement_interval(2.0, (1.0, 5.0), n)
    assert (1 - (high - 2) / (5 - 2)) ** n == pytest.approx(0.025)
    assert (1 - (2 - low) / (2 - 1)) ** n == pytest.approx(0.025)


def test_a_geometric_mean_has_students_interval_on_logs() -> None:
    ratios = [1.2, 1.5, 1.1, 1.4]
    value, *ends = log_ratio_interval(ratios)
    logs = np.log(ratios)
    expected = stats.t.interval(0.95, 3, logs.mean(), stats.sem(logs))
    assert np.log([value, *ends]) == pytest.approx([logs.mean(), *expected])
    with pytest.raises(ValueError, match="two blocks or more, got 1"):
        log_ratio_interval([1.0])


@pytest.mark.parametrize("n", [5, 6, 8, 9, 10, 25, 60])
def test_a_medians_interval_is_the_narrowest_pair_of_ratios_with_enough_coverage(n: int) -> None:
    """The j-th from both ends cover the median unless fewer than j ratios lie on one side of it."""
    ratios = [1.0 + 0.01 * (7 * index % n) for index in range(n)]
    value, low, high = median_interval(ratios)
    place = sorted(ratios).index(low)
    assert sorted(ratios)[n - 1 - place] == high
    assert 1 - 2 * stats.binom.cdf(place, n, 0.5) >= 0.9375
    assert 1 - 2 * stats.binom.cdf(place + 1, n, 0.5) < 0.9375
    assert value == pytest.approx(np.exp(np.median(np.log(ratios))))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_fewer_than_five_ratios_have_a_t_interval(n: int) -> None:
    ratios = [1.5, 1.2, 1.9, 1.3][:n]
    assert median_interval(ratios)[1:] == log_ratio_interval(ratios)[1:]


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_few_equal_ratios_leave_their_spread_unknown(n: int) -> None:
    assert log_ratio_interval([1.3] * n) == (pytest.approx(1.3), 0.0, math.inf)
    for estimate in (geometric_mean, median_ratio):
        number = estimate([1.3] * n, "")
        assert (number.value, number.low, number.high) == (pytest.approx(1.3), None, None)
    low, high = median_interval([1.3] * 5)[1:]  # covers the median of any distribution
    assert low == high == 1.3


def test_from_nine_ratios_on_one_disturbed_block_moves_neither_end() -> None:
    ratios = [1.2, 1.21, 1.22, 1.23, 1.24, 1.25, 1.26, 1.27, 1.28]
    for wrong in (0.1, 10.0):
        value, low, high = median_interval([*ratios[:4], wrong, *ratios[5:]])
        assert 1.2 <= low <= value <= high <= 1.28
    assert median_interval([*ratios[:4], 10.0])[2] == 10.0
