"""Ends of intervals: by a t quantile, by order statistics, and where nothing varies.

A scale makes the noise of a bounded value more even: log odds between two finite bounds, a
logarithm above one bound. Intervals are symmetric on that scale and so end within the bounds.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Bounds = tuple[float, float]  # the least and the highest possible value; the highest may be inf
Ends = tuple[float, float]
UPPER = 0.975  # the quantile of a two-sided 95 % interval
_LARGEST_LOG = 700.0  # of a number that a float can hold
_MEDIAN_ERROR = 1 / 32  # on each side: what the range of five values leaves


def t_interval(
    value: float, standard_error: float, degrees: float, quantile: float = UPPER
) -> Ends:
    """Return (low, high) of a two-sided t interval."""
    from scipy import special  # `stats.t.ppf` calls it, and takes 100 times as long

    half = float(special.stdtrit(degrees, quantile)) * standard_error
    return value - half, value + half


def to_scale(values: Any, bounds: Bounds) -> Any:
    """Return values as log odds between their bounds; as logarithms if the upper bound is inf."""
    low, high = bounds
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(values - low) - (0.0 if math.isinf(high) else np.log(high - values))


def scale_slope(value: float, bounds: Bounds) -> float:
    """Return the derivative of `to_scale` at a value; inf at a bound."""
    low, high = bounds
    least = min(value - low, high - value)
    return math.inf if least <= 0 else 1 / (value - low) + 1 / (high - value)


def from_scale(scaled: float, bounds: Bounds) -> float:
    """Return the value of which `to_scale` is `scaled`."""
    from scipy import special

    low, high = bounds
    if math.isinf(high):
        return low + (math.exp(scaled) if scaled < _LARGEST_LOG else math.inf)
    return low + (high - low) * float(special.expit(scaled))


def exact_interval(value: float, bounds: Bounds, n: float, quantile: float = UPPER) -> Ends:
    """Return Clopper and Pearson's interval (1934) of a share of n units, scaled to `bounds`.

    `value` within `bounds` is the share; n need not be whole (Korn and Graubard 1998).
    """
    from scipy import stats

    low, high = bounds
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    ends = 0.0, 1.0
    if share > 0:
        ends = float(stats.beta.ppf(1 - quantile, n * share, n * (1 - share) + 1)), ends[1]
    if share < 1:
        ends = ends[0], float(stats.beta.ppf(quantile, n * share + 1, n * (1 - share)))
    return low + (high - low) * ends[0], low + (high - low) * ends[1]


def agreement_interval(value: float, bounds: Bounds, n: float, quantile: float = UPPER) -> Ends:
    """Return the interval of a mean whose n units all have the same value.

    At most a share 1 - (1 - quantile)^(1 / n) of all units has another value, at worst a bound.
    """
    others = 1 - (1 - quantile) ** (1 / n)
    low, high = (value + others * (bound - value) for bound in bounds)
    return low, high


def log_ratio_interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return (geometric mean, low, high) of positive ratios, by a t interval on their logs.

    The ends are 0 and infinity if all ratios are equal: nothing is known of their spread. Raises
    ValueError for fewer than two ratios.
    """
    n = len(ratios)
    if n < 2:
        raise ValueError(f"an interval needs two blocks or more, got {n}")
    logs = np.log(np.asarray(ratios, dtype=np.float64))
    mean = float(logs.mean())
    if len(set(ratios)) == 1:
        return math.exp(mean), 0.0, math.inf
    low, high = t_interval(mean, float(logs.std(ddof=1)) / math.sqrt(n), n - 1)
    return math.exp(mean), math.exp(low), math.exp(high)


def median_interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return (median, low, high) of positive ratios; the ends are ratios, by order statistics.

    The interval covers the median of any distribution with at least 93.75 %, which is what the
    range of five ratios does. Fewer have no such interval: theirs is the t interval on logs, which
    takes the logs for normal. Raises ValueError for fewer than two ratios.
    """
    from scipy import stats

    n = len(ratios)
    median = math.exp(float(np.median(np.log(np.asarray(ratios, dtype=np.float64)))))
    below = stats.binom.cdf(np.arange(n), n, 0.5) <= _MEDIAN_ERROR * (1 + 1e-9)
    left_out = int(below.sum()) - 1  # ratios outside the interval on each side
    if left_out < 0:
        return median, *log_ratio_interval(ratios)[1:]
    in_order = sorted(ratios)
    return median, in_order[left_out], in_order[n - 1 - left_out]
