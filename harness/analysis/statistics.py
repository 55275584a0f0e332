"""Rates, differences and their intervals, with the prompt (never the token) as the unit.

A rate is a ratio of sums over prompts: counts are pooled, then divided. Its interval is a bootstrap
over prompts (BCa, Efron 1987; percentile where BCa is undefined, as for a constant statistic), at a
level expanded for few prompts. Two methods are compared on the same prompts, so the bootstrap of a
difference resamples both together. Seeds are a second level: see `estimate_effect`.

Legend: B prompt.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from draftmark.results import Number
from draftmark.store.acceptance_tables import Floats

Counts = tuple[Floats, Floats]  # numerators [B], denominators [B]

RESAMPLES = 4999  # another seed moves the ends of an interval by 2 % of its half width
_SEED = 20260101  # fixed, so that the same records give the same interval


def estimate_ratio(
    numerators: Sequence[float] | Floats, denominators: Any, definition: str
) -> Number:
    """Return the pooled ratio sum(numerators) / sum(denominators) over prompts.

    Raises ValueError without prompts or if the denominators sum to 0.
    """
    return _bootstrap(_checked(numerators, denominators), definition)


def estimate_mean(values: Sequence[float] | Floats, definition: str) -> Number:
    """Return the mean over prompts."""
    return estimate_ratio(values, np.ones(len(values)), definition)


def estimate_share(flags: Sequence[float] | Floats, definition: str) -> Number:
    """Return the share of prompts whose flag is 1 (not 0), with Wilson's interval.

    A bootstrap of 0 in 64 has no width; this interval reaches 5 %. Raises ValueError if empty.
    """
    from scipy import stats

    if not len(flags):
        raise ValueError("a share needs prompts, got none")
    count = round(float(sum(flags)))
    found = stats.binomtest(count, len(flags)).proportion_ci(method="wilson")
    return Number(count / len(flags), float(found.low), float(found.high), len(flags), definition)


def t_interval(
    value: float, standard_error: float, degrees: float, quantile: float = 0.975
) -> tuple[float, float]:
    """Return (low, high) of a two-sided t interval."""
    from scipy import stats

    half = float(stats.t.ppf(quantile, degrees)) * standard_error
    return value - half, value + half


def log_ratio_interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return (geometric mean, low, high) of positive ratios, by a t interval on their logs.

    Raises ValueError for fewer than two ratios, whose spread is unknown.
    """
    n = len(ratios)
    if n < 2:
        raise ValueError(f"an interval needs two blocks or more, got {n}")
    logs = [math.log(ratio) for ratio in ratios]
    mean = math.fsum(logs) / n
    variance = math.fsum((value - mean) ** 2 for value in logs) / (n - 1)
    low, high = t_interval(mean, math.sqrt(variance / n), n - 1)
    return math.exp(mean), math.exp(low), math.exp(high)


def geometric_mean(ratios: Sequence[float], definition: str) -> Number:
    """Return the geometric mean with `log_ratio_interval`'s interval, n = ratios."""
    return Number(*log_ratio_interval(ratios), len(ratios), definition)


def ratio_difference(first: Counts, second: Counts, definition: str) -> Number:
    """Return first ratio - second ratio; raises ValueError for different numbers of prompts."""
    if len(first[0]) != len(second[0]):
        raise ValueError(f"not paired: {len(first[0])} prompts and {len(second[0])}")
    return _bootstrap((*_checked(*first), *_checked(*second)), definition)


def mean_ratio(seeds: Sequence[Counts]) -> float:
    """Return the mean over seeds of each seed's pooled ratio, without an interval."""
    return math.fsum(float(_rate(*counts)) for counts in seeds) / len(seeds)


def over_seeds(seeds: Sequence[Counts], definition: str) -> Number:
    """Return the mean over seeds of each seed's ratio, with an interval over prompts and seeds.

    A single prompt has no interval.
    """
    if len(seeds) == 1:
        return estimate_ratio(*seeds[0], definition)
    if len(seeds[0][0]) == 1:
        return Number(mean_ratio([_checked(*it) for it in seeds]), None, None, 1, definition)
    return estimate_effect(seeds).number(definition)


def estimate_difference(
    first: Sequence[Counts],
    second: Sequence[Counts],
    definition: str,
    *,
    paired_seeds: bool = False,
) -> Number:
    """Return the difference of two ratios, each averaged over seeds, on the same prompts."""
    if len(first) == len(second) == 1:
        return ratio_difference(first[0], second[0], definition)
    return estimate_effect(first, second, paired_seeds=paired_seeds).number(definition)


@dataclass(frozen=True)
class Effect:
    """An estimate on n prompts, its standard error and that error's degrees of freedom.

    `seeds_error` is the seeds' part of the standard error, which more prompts do not reduce.
    """

    value: float
    standard_error: float
    degrees: float
    n: int
    seeds_error: float = 0.0

    def number(self, definition: str) -> Number:
        """Return the estimate with its 95 % t interval."""
        ends = t_interval(self.value, self.standard_error, self.degrees)
        return Number(self.value, *ends, self.n, definition)

    def on_prompts(self, n: int, inflated: float = 1.0) -> tuple[float, float]:
        """Return the standard error and degrees of freedom expected on n prompts.

        The observed variance over prompts is multiplied by `inflated`.
        """
        of_prompts, of_seeds = self.standard_error**2 - self.seeds_error**2, self.seeds_error**2
        # The seeds' terms of Satterthwaite's formula: part^2 / degrees, summed over the parts.
        seeds_spread = self.standard_error**4 / self.degrees - of_prompts**2 / (self.n - 1)
        of_prompts *= inflated * self.n / n
        variance = of_prompts + of_seeds
        spread = of_prompts**2 / (n - 1) + (max(seeds_spread, 0.0) if of_seeds else 0.0)
        return math.sqrt(variance), variance**2 / spread if spread else n - 1


def estimate_effect(
    first: Sequence[Counts], second: Sequence[Counts] = (), *, paired_seeds: bool = False
) -> Effect:
    """Return the mean ratio of `first` over its seeds, minus that of `second` if given.

    All seeds share the prompts; each side has its own seeds. So the variance has a part for the
    prompts (delta method: each prompt's effect on the ratio, averaged over seeds) and a part for
    each side's seeds. A bootstrap of three seeds would be far too narrow: it has only ten different
    samples. With `paired_seeds` both sides have the same seeds in the same order, and the seeds'
    part is the variance of their differences. Raises ValueError for fewer than two prompts, or if
    the sides have different numbers of prompts.
    """
    sides = [(sign, side) for sign, side in ((1.0, first), (-1.0, second)) if side]
    n = len(first[0][0])
    if n < 2:
        raise ValueError(f"a standard error needs two prompts or more, got {n}")
    if any(len(top) != n for _, side in sides for top, _ in side):
        raise ValueError("not paired: different numbers of prompts")
    moves_B = np.zeros(n)
    ratios = []
    for sign, side in sides:
        checked = [_checked(*counts) for counts in side]
        ratios.append([sign * float(_rate(*counts)) for counts in checked])
        moves = [(top - _rate(top, bottom) * bottom) / bottom.mean() for top, bottom in checked]
        moves_B += sign * np.mean(moves, axis=0)
    value = math.fsum(math.fsum(side) / len(side) for side in ratios)
    if paired_seeds and second:
        ratios = [[a + b for a, b in zip(*ratios, strict=True)]]
    seeds = [np.array(side) for side in ratios if len(side) > 1]
    seeds_error = standard_error(seeds)[0] if seeds else 0.0
    return Effect(value, *standard_error([*seeds, moves_B]), n, seeds_error)


def standard_error(sources: Sequence[Floats]) -> tuple[float, float]:
    """Return (standard error, degrees of freedom) of a sum of means, one mean per noise source.

    Degrees of freedom are by Satterthwaite (1946); at zero variance they are the last source's.
    """
    parts = [(float(np.var(units, ddof=1)) / len(units), len(units) - 1) for units in sources]
    variance = math.fsum(part for part, _ in parts)
    spread = math.fsum(part**2 / degrees for part, degrees in parts)
    return math.sqrt(variance), variance**2 / spread if spread else parts[-1][1]


def _checked(numerators: Any, denominators: Any) -> Counts:
    """Return both as float64; raises ValueError unless their ratio of sums is defined."""
    top = np.asarray(numerators, dtype=np.float64)
    bottom = np.asarray(denominators, dtype=np.float64)
    if len(top) == 0 or len(top) != len(bottom):
        raise ValueError(f"needs as many numerators as denominators: {len(top)}, {len(bottom)}")
    if bottom.sum() == 0:
        raise ValueError("the denominators sum to zero: the rate is undefined")
    return top, bottom


def _rate(top: Floats, bottom: Floats, *second: Floats, axis: int = -1) -> Any:
    """Return a ratio of sums, minus a second ratio if given."""
    rate = top.sum(axis=axis) / bottom.sum(axis=axis)
    return rate - _rate(*second, axis=axis) if second else rate


def _bootstrap(samples: tuple[Floats, ...], definition: str) -> Number:
    """Return a rate with its interval; no interval where it is undefined."""
    value, n = float(_rate(*samples)), len(samples[0])
    for method in ("BCa", "percentile") if n > 1 else ():
        low, high = _interval(samples, method)
        if math.isfinite(low) and math.isfinite(high):
            return Number(value, low, high, n, definition)
    return Number(value, None, None, n, definition)


def _interval(samples: tuple[Floats, ...], method: Any) -> tuple[float, float]:
    import warnings

    from scipy import stats

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            samples,
            _rate,
            n_resamples=RESAMPLES,
            paired=True,
            vectorized=True,
            batch=500,
            method=method,
            confidence_level=_expanded_level(len(samples[0])),
            random_state=np.random.default_rng(_SEED),
        )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _expanded_level(n: int) -> float:
    """Return the level at which a bootstrap of n prompts covers 95 %.

    Resampling n prompts understates the spread by sqrt((n - 1) / n) and ignores the t quantile, so
    it is too narrow for small n (Hesterberg 2015, arXiv 1411.5279, "expanded percentile interval").
    """
    from scipy import stats

    reach = float(stats.t.ppf(0.975, n - 1)) * math.sqrt(n / (n - 1))
    return float(2 * stats.norm.cdf(reach) - 1)
