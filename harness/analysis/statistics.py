"""Rates, differences and their intervals, with the prompt (never the token) as the unit.

A rate is a ratio of sums over prompts: counts are pooled, then divided. Its standard error is the
jackknife's: what leaving out one prompt changes. Long prompts weigh more, so the t quantile has the
degrees of freedom of the effective number of prompts (Kish 1965), less one. A bounded rate is
judged on the scale of log odds, on which its noise near a bound is even (`intervals.to_scale`).
`docs/coverage.md` has the simulated coverage. Seeds are a second level: see `estimate_effect`.

Legend: B prompt.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from draftmark.analysis.intervals import (
    UPPER,
    Bounds,
    Ends,
    agreement_interval,
    exact_interval,
    from_scale,
    log_ratio_interval,
    median_interval,
    scale_slope,
    t_interval,
    to_scale,
)
from draftmark.results import Number
from draftmark.store.acceptance_tables import Floats

Counts = tuple[Floats, Floats]  # numerators [B], denominators [B]
Noise = tuple[Floats, float]  # a noise source's contribution by unit, and its degrees of freedom

SHARE: Bounds = (0.0, 1.0)
POSITIVE: Bounds = (0.0, math.inf)
LEAST_DEGREES = 1e-9  # where one prompt has all the weight
_ROUNDING = 1e-9  # contributions that differ by less, relative to the value, are equal


def estimate_ratio(
    numerators: Sequence[float] | Floats,
    denominators: Any,
    definition: str,
    bounds: Bounds | None = None,
) -> Number:
    """Return the pooled ratio sum(numerators) / sum(denominators) over prompts.

    `bounds` are the least and highest possible ratio, by default 0 and 1 if no prompt's ratio is
    outside. Raises ValueError without prompts or if the denominators sum to 0.
    """
    return over_seeds([_checked(numerators, denominators)], definition, bounds)


def estimate_mean(
    values: Sequence[float] | Floats, definition: str, bounds: Bounds | None = None
) -> Number:
    """Return the mean over prompts."""
    return estimate_ratio(values, np.ones(len(values)), definition, bounds)


def estimate_share(flags: Sequence[float] | Floats, definition: str) -> Number:
    """Return the share of prompts whose flag is 1 (not 0), with Clopper and Pearson's interval.

    Raises ValueError if empty.
    """
    n = len(flags)
    if not n:
        raise ValueError("a share needs prompts, got none")
    share = round(float(sum(flags))) / n
    return Number(share, *exact_interval(share, SHARE, n), n, definition, n)


def geometric_mean(ratios: Sequence[float], definition: str) -> Number:
    """Return the geometric mean with `log_ratio_interval`'s interval, n = ratios.

    Equal ratios have no interval.
    """
    value, *ends = log_ratio_interval(ratios)
    return _number(value, (ends[0], ends[1]), len(ratios), definition)


def median_ratio(ratios: Sequence[float], definition: str) -> Number:
    """Return the median with `median_interval`'s interval, n = ratios.

    Fewer than five equal ratios have no interval.
    """
    value, *ends = median_interval(ratios)
    return _number(value, (ends[0], ends[1]), len(ratios), definition)


def mean_ratio(seeds: Sequence[Counts]) -> float:
    """Return the mean over seeds of each seed's pooled ratio, without an interval."""
    return float(_rates(seeds).mean())


def _rates(seeds: Sequence[Counts]) -> Floats:
    """Return each seed's pooled ratio."""
    return np.array([top.sum() / bottom.sum() for top, bottom in seeds])


def effective_number(*seeds: Counts) -> float:
    """Return the number of equal prompts that weigh as much: (sum w)^2 / sum w^2 (Kish 1965).

    The weight w of a prompt is its share of the denominators, averaged over the counts.
    """
    weights_B = np.mean([bottom / bottom.sum() for _, bottom in seeds], axis=0)
    return float(1 / (weights_B**2).sum())


def rates_without_each(counts: Counts) -> Floats:
    """Return the pooled ratio without each prompt [B]; nan if that prompt has all the weight."""
    top_B, bottom_B = counts
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((top_B.sum() - top_B) / (bottom_B.sum() - bottom_B))


def over_seeds(seeds: Sequence[Counts], definition: str, bounds: Bounds | None = None) -> Number:
    """Return the mean over seeds of each seed's ratio, with an interval over prompts and seeds.

    A single prompt has no interval, and neither has a ratio without bounds that no prompt changes.
    """
    checked = [_checked(*counts) for counts in seeds]
    value, n = mean_ratio(checked), len(checked[0][0])
    ends = _rate_ends(checked, bounds) if n > 1 else (-math.inf, math.inf)
    return _number(value, ends, n, definition, effective_number(*checked))


def _number(
    value: float, ends: Ends, n: int, definition: str, effective: float | None = None
) -> Number:
    """Return a number without its interval if an end is infinite."""
    if not all(map(math.isfinite, ends)):
        return Number(value, None, None, n, definition, effective)
    return Number(value, *ends, n, definition, effective)


def estimate_difference(
    first: Sequence[Counts],
    second: Sequence[Counts],
    definition: str,
    *,
    paired_seeds: bool = False,
    bounds: Bounds | None = None,
) -> Number:
    """Return the difference of two ratios, each averaged over seeds, on the same prompts.

    `bounds` are those of each ratio.
    """
    found = estimate_effect(first, second, paired_seeds=paired_seeds, bounds=bounds)
    return found.number(definition)


@dataclass(frozen=True)
class Effect:
    """An estimate on n prompts, its standard error and that error's degrees of freedom.

    `seeds_error` is the seeds' part of the standard error, which more prompts do not reduce.
    `effective` is the effective number of prompts, by default n. `differing` is the number of
    prompts on which the two sides of a difference have other counts, by default n. `bounds` are
    the least and highest possible value.
    """

    value: float
    standard_error: float
    degrees: float
    n: int
    seeds_error: float = 0.0
    effective: float | None = None
    differing: int | None = None
    bounds: Bounds | None = None

    @property
    def effective_n(self) -> float:
        """The effective number of prompts."""
        return self.n if self.effective is None else self.effective

    @property
    def differing_n(self) -> int:
        """The number of prompts on which the two sides differ."""
        return self.n if self.differing is None else self.differing

    def interval(self, quantile: float = UPPER) -> Ends:
        """Return (low, high): the t interval within the bounds, infinite if the error is unknown.

        If all prompts have the same effect, the interval is `agreement_interval`'s.
        """
        least, most = self.bounds or (-math.inf, math.inf)
        if self.standard_error > 0:
            low, high = t_interval(self.value, self.standard_error, self.degrees, quantile)
            return max(low, least), min(high, most)
        if not math.isfinite(most - least):
            return least, most
        return agreement_interval(self.value, (least, most), self.effective_n, quantile)

    def number(self, definition: str, quantile: float = UPPER) -> Number:
        """Return the estimate with its interval (default 95 %); none if the error is unknown."""
        return _number(self.value, self.interval(quantile), self.n, definition, self.effective_n)

    def on_prompts(self, n: int, inflated: float = 1.0) -> tuple[float, float]:
        """Return the standard error and degrees of freedom expected on n prompts.

        The observed variance over prompts is multiplied by `inflated`.
        """
        of_prompts, of_seeds = self.standard_error**2 - self.seeds_error**2, self.seeds_error**2
        here = max(self.effective_n - 1, LEAST_DEGREES)
        there = max(self.effective_n * n / self.n - 1, LEAST_DEGREES)
        # The seeds' part / degrees in `_with_seeds`.
        seeds_spread = self.standard_error**2 / self.degrees - of_prompts / here
        of_prompts *= inflated * self.n / n
        variance = of_prompts + of_seeds
        spread = of_prompts / there + (max(seeds_spread, 0.0) if of_seeds else 0.0)
        return math.sqrt(variance), variance / spread if spread else there


def estimate_effect(
    first: Sequence[Counts],
    second: Sequence[Counts] = (),
    *,
    paired_seeds: bool = False,
    bounds: Bounds | None = None,
) -> Effect:
    """Return the mean ratio of `first` over its seeds, minus that of `second` if given.

    All seeds share the prompts; each side has its own seeds. So the variance has a part for the
    prompts (jackknife: what leaving out a prompt changes, averaged over seeds) and a part for
    each side's seeds. A bootstrap of three seeds would be far too narrow: it has only ten different
    samples. With `paired_seeds` both sides have the same seeds in the same order, and the seeds'
    part is the variance of their differences. `bounds` are those of each ratio, as in
    `estimate_ratio`. Raises ValueError for fewer than two prompts, or if the sides have different
    numbers of prompts.
    """
    sides = [[_checked(*counts) for counts in side] for side in (first, second) if side]
    n = len(sides[0][0][0])
    if n < 2:
        raise ValueError(f"a standard error needs two prompts or more, got {n}")
    if any(len(top) != n for side in sides for top, _ in side):
        raise ValueError("not paired: different numbers of prompts")
    effective = effective_number(*(seed for side in sides for seed in side))
    rates = [_rates(side) for side in sides]
    value = float(rates[0].mean() - (rates[1].mean() if second else 0.0))
    paired = paired_seeds and bool(second)
    of_seeds = _seeds_noise([rates[0] - rates[1]] if paired else rates)
    without = [_without_each(side) for side in sides]
    without_B = without[0] - without[1] if second else without[0]
    error, degrees = _with_seeds(_prompts_noise(without_B, effective), of_seeds)
    if math.isnan(error):  # one prompt has all the weight
        error, degrees = math.inf, 1.0
    if error <= _ROUNDING * max(np.abs(side).max() for side in rates):
        error = 0.0
    seeds_error = standard_error(of_seeds)[0] if of_seeds else 0.0
    differing = _differing(*sides) if second else n
    widest = bounds or _share_bounds([seed for side in sides for seed in side])
    if widest and second:
        widest = widest[0] - widest[1], widest[1] - widest[0]
    return Effect(value, error, degrees, n, seeds_error, effective, differing, widest)


def _rate_ends(seeds: Sequence[Counts], bounds: Bounds | None) -> Ends:
    """Return the ends of the interval of a mean ratio, on the scale of its bounds."""
    bounds = bounds or _share_bounds(seeds)
    if bounds is None:
        return estimate_effect(seeds).interval()
    value, effective = mean_ratio(seeds), effective_number(*seeds)
    scaled = float(to_scale(np.float64(value), bounds))
    with np.errstate(invalid="ignore"):
        without_B = to_scale(_without_each(seeds), bounds)
        rates = _rates(seeds) * scale_slope(value, bounds)
        error, degrees = _with_seeds(_prompts_noise(without_B, effective), _seeds_noise([rates]))
    if math.isfinite(error) and error > _ROUNDING:
        low, high = t_interval(scaled, error, degrees)
        return from_scale(low, bounds), from_scale(high, bounds)
    if math.isinf(bounds[1]):
        return -math.inf, math.inf
    if error <= _ROUNDING:
        return agreement_interval(value, bounds, effective)
    return exact_interval(value, bounds, effective)


def standard_error(sources: Iterable[Noise]) -> tuple[float, float]:
    """Return (standard error, degrees of freedom) of a sum of means, one mean per noise source.

    Degrees of freedom are by Satterthwaite (1946); at zero variance they are the first source's.
    """
    several = list(sources)
    parts = [(float(np.var(units, ddof=1)) / len(units), degrees) for units, degrees in several]
    variance = math.fsum(part for part, _ in parts)
    spread = math.fsum(part**2 / degrees for part, degrees in parts if part)
    return math.sqrt(variance), variance**2 / spread if spread else parts[0][1]


def _with_seeds(prompts: Noise, seeds: Sequence[Noise]) -> tuple[float, float]:
    """Return (standard error, degrees of freedom) over prompts and the seeds of each side.

    1 / degrees is the mean of that of prompts and that of seeds, weighted by their variances: to
    first order Cochran and Cox's weighted quantile (1950). Satterthwaite's formula is too sure of
    the weight of two or three seeds.
    """
    error, degrees = standard_error([prompts])
    if not seeds:
        return error, degrees
    seeds_error, seeds_degrees = standard_error(seeds)
    spread = error**2 / degrees + seeds_error**2 / seeds_degrees
    variance = error**2 + seeds_error**2
    return math.sqrt(variance), variance / spread if spread else degrees


def _prompts_noise(without_B: Floats, effective: float) -> Noise:
    """Return the jackknife's noise of prompts from the estimates without each one.

    Their variance is that of pseudo-values (Tukey 1958): n - 1 times the estimates.
    """
    return (len(without_B) - 1) * without_B, max(effective - 1, LEAST_DEGREES)


def _seeds_noise(sides: Sequence[Floats]) -> list[Noise]:
    """Return the noise of each side that has several seeds."""
    return [(rates, len(rates) - 1) for rates in sides if len(rates) > 1]


def _without_each(seeds: Sequence[Counts]) -> Floats:
    """Return the mean ratio over seeds without each prompt [B]."""
    return np.asarray(np.mean([rates_without_each(counts) for counts in seeds], axis=0))


def _share_bounds(seeds: Sequence[Counts]) -> Bounds | None:
    """Return the bounds of a share if no prompt's ratio is outside them."""
    inside = all((top_B >= 0).all() and (top_B <= bottom_B).all() for top_B, bottom_B in seeds)
    return SHARE if inside else None


def _differing(first: Sequence[Counts], second: Sequence[Counts]) -> int:
    """Return the number of prompts whose counts differ between two sides."""
    if len(first) != len(second):
        first, second = [np.mean(first, axis=0)], [np.mean(second, axis=0)]
    return int(np.any(np.asarray(first) != np.asarray(second), axis=(0, 1)).sum())


def _checked(numerators: Any, denominators: Any) -> Counts:
    """Return both as float64; raises ValueError unless their ratio of sums is defined."""
    top = np.asarray(numerators, dtype=np.float64)
    bottom = np.asarray(denominators, dtype=np.float64)
    if len(top) == 0 or len(top) != len(bottom):
        raise ValueError(f"needs as many numerators as denominators: {len(top)}, {len(bottom)}")
    if bottom.sum() == 0:
        raise ValueError("the denominators sum to zero: the rate is undefined")
    return top, bottom
