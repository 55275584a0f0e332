"""Intervals: the prompt is the unit, never the token.

Rates are ratios of sums over prompts: pool the counts, then divide. Their intervals come of a
bootstrap over prompts (BCa, Efron 1987; percentile where BCa is undefined, as for a statistic that
no prompt moves; at a level expanded for few prompts). Two methods are compared on the same prompts,
so a difference resamples both together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.published import Number
from harness.tables import Floats

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


@dataclass(frozen=True)
class PairedTest:
    """A test for no difference between two ratios on the same prompts."""

    p_value: float
    standard_error: float
    n: int

    @property
    def detectable(self) -> float:
        """The difference that a two-sided test at 5 % finds in 8 of 10 such experiments."""
        from scipy import stats

        quantiles = (float(stats.t.ppf(level, self.n - 1)) for level in (0.975, 0.8))
        return sum(quantiles) * self.standard_error

    def prompts_needed(self, wanted: float) -> int:
        """Return how many prompts would find a difference of `wanted` in 8 of 10 experiments."""
        return math.ceil(self.n * (self.detectable / wanted) ** 2)


def paired_test(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> PairedTest:
    """Return the t test of first ratio - second ratio, each prompt's influence its unit.

    The influence of a prompt on a ratio of sums is (numerator - ratio x denominator) over the mean
    denominator, to first order (the delta method). Raises ValueError on fewer than two prompts.
    """
    from scipy import stats

    n = len(first[0])
    if n < 2:
        raise ValueError(f"a paired test needs two prompts or more, got {n}")
    moves_B = _influence(*_paired(*first)) - _influence(*_paired(*second))
    difference = _ratio_of_sums(*first) - _ratio_of_sums(*second)
    error = float(moves_B.std(ddof=1)) / math.sqrt(n)
    if error == 0:
        return PairedTest(1.0 if difference == 0 else 0.0, 0.0, n)
    return PairedTest(float(2 * stats.t.sf(abs(difference) / error, n - 1)), error, n)


def _influence(top_B: Floats, bottom_B: Floats) -> Floats:
    moves_B: Floats = (top_B - _ratio_of_sums(top_B, bottom_B) * bottom_B) / bottom_B.mean()
    return moves_B


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the exact p value of McNemar's test: are two methods right equally often?

    Only prompts on which they disagree say anything (McNemar 1947). `first`, `second`: 0 or 1.
    """
    from scipy import stats

    pairs = list(zip(first, second, strict=True))
    gained, lost = pairs.count((1.0, 0.0)), pairs.count((0.0, 1.0))
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number: the family-wise error is kept (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return []
    adjusted: list[float] = multipletests(p_values, method="holm")[1].tolist()
    return adjusted


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


def _expanded_level(n: int) -> float:
    """Return the level at which a bootstrap of n prompts covers 95 %.

    Resampling n prompts understates the spread by sqrt((n - 1) / n) and has no t quantile: too
    narrow for few prompts (Hesterberg 2015, arXiv 1411.5279, "expanded percentile interval").
    """
    from scipy import stats

    reach = float(stats.t.ppf(0.975, n - 1)) * math.sqrt(n / (n - 1))
    return float(2 * stats.norm.cdf(reach) - 1)


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
            confidence_level=_expanded_level(len(samples[0])),
            random_state=np.random.default_rng(_SEED),
        )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
