"""Intervals: the prompt is the unit, never the token.

Rates are ratios of sums over prompts: pool the counts, then divide. Their intervals come of a
bootstrap over prompts (BCa, Efron 1987; percentile where BCa is undefined, as for a statistic that
no prompt moves). Two methods are compared on the same prompts, so a difference resamples both
together.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.tables import Floats
from harness.types import Number

RESAMPLES = 9999
_SEED = 20260101  # of the bootstrap: the same records print the same interval


def ratio(numerators: Sequence[float] | Floats, denominators: Any, definition: str) -> Number:
    """Return the pooled ratio sum(numerators) / sum(denominators) over prompts.

    Raises ValueError on no prompts or a zero denominator: a rate of nothing is not 0.
    """
    top, bottom = _paired(numerators, denominators)
    return _bootstrap((top, bottom), _ratio_of_sums, definition)


def mean(values: Sequence[float] | Floats, definition: str) -> Number:
    """Return the mean over prompts."""
    return ratio(values, np.ones(len(values)), definition)


def share(flags: Sequence[float], definition: str) -> Number:
    """Return the share of prompts for which something holds; `flags` are 0 or 1.

    With Wilson's interval, which stays honest where a bootstrap cannot: of 0 in 64 it says that
    the share may be 5 %. Raises ValueError on no prompts.
    """
    from scipy import stats

    if not len(flags):
        raise ValueError("no prompts: there is no such share")
    count = round(sum(flags))
    found = stats.binomtest(count, len(flags)).proportion_ci(method="wilson")
    return Number(count / len(flags), float(found.low), float(found.high), len(flags), definition)


def log_ratio_interval(ratios: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Return (geometric mean, low, high) of positive ratios, by a t interval on their logs.

    Raises ValueError for fewer than two: one block says nothing of its own spread.
    """
    from scipy import stats

    if len(ratios) < 2:
        raise ValueError(f"an interval needs two blocks or more, got {len(ratios)}")
    logs = [math.log(ratio) for ratio in ratios]
    mean = math.fsum(logs) / len(logs)
    variance = math.fsum((value - mean) ** 2 for value in logs) / (len(logs) - 1)
    half = float(stats.t.ppf(0.5 + level / 2, len(logs) - 1)) * math.sqrt(variance / len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def ratio_difference(
    first: tuple[Floats, Floats], second: tuple[Floats, Floats], definition: str
) -> Number:
    """Return first ratio - second ratio, each (numerators, denominators) of the same prompts."""
    if len(first[0]) != len(second[0]):
        raise ValueError(f"not paired: {len(first[0])} prompts and {len(second[0])}")
    return _bootstrap((*_paired(*first), *_paired(*second)), _difference_of_ratios, definition)


def _paired(numerators: Any, denominators: Any) -> tuple[Floats, Floats]:
    top = np.asarray(numerators, dtype=np.float64)
    bottom = np.asarray(denominators, dtype=np.float64)
    if len(top) == 0 or len(top) != len(bottom):
        raise ValueError(f"needs as many numerators as denominators: {len(top)}, {len(bottom)}")
    if bottom.sum() == 0:
        raise ValueError("the denominators sum to zero: there is no such rate")
    return top, bottom


def _ratio_of_sums(top: Floats, bottom: Floats, axis: int = -1) -> Any:
    return top.sum(axis=axis) / bottom.sum(axis=axis)


def _difference_of_ratios(a: Floats, b: Floats, c: Floats, d: Floats, axis: int = -1) -> Any:
    return _ratio_of_sums(a, b, axis) - _ratio_of_sums(c, d, axis)


def _bootstrap(samples: tuple[Floats, ...], statistic: Any, definition: str) -> Number:
    value, n = float(statistic(*samples)), len(samples[0])
    if n == 1:
        return Number(value, None, None, n, definition)
    low, high = _interval(samples, statistic, "BCa")
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = _interval(samples, statistic, "percentile")
    if not (math.isfinite(low) and math.isfinite(high)):
        return Number(value, None, None, n, definition)
    return Number(value, low, high, n, definition)


def _interval(samples: tuple[Floats, ...], statistic: Any, method: Any) -> tuple[float, float]:
    import warnings

    from scipy import stats

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            samples,
            statistic,
            n_resamples=RESAMPLES,
            paired=True,
            vectorized=True,
            batch=500,
            method=method,
            random_state=np.random.default_rng(_SEED),
        )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
