"""Intervals: the prompt is the unit, never the token.

Rates are ratios of sums over prompts: pool the counts, then divide. Their intervals come of a
bootstrap over prompts (BCa, Efron 1987; percentile where BCa is undefined, as for a statistic that
no prompt moves; at a level expanded for few prompts). Two methods are compared on the same prompts,
so a difference resamples both together. Seeds are a second level: see `effect`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from draftmark.results import Number
from draftmark.store.acceptance_tables import Floats

Counts = tuple[Floats, Floats]  # numerators and denominators of prompts

RESAMPLES = 4999  # the ends of an interval move by 2 % of its half width with others
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


def share(flags: Sequence[float] | Floats, definition: str) -> Number:
    """Return the share of prompts for which something holds; `flags` are 0 or 1.

    With Wilson's interval, which stays honest where a bootstrap cannot: of 0 in 64 it says that
    the share may be 5 %. Raises ValueError on no prompts.
    """
    from scipy import stats

    if not len(flags):
        raise ValueError("no prompts: there is no such share")
    count = round(float(sum(flags)))
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


def ratio_difference(first: Counts, second: Counts, definition: str) -> Number:
    """Return first ratio - second ratio, each (numerators, denominators) of the same prompts."""
    if len(first[0]) != len(second[0]):
        raise ValueError(f"not paired: {len(first[0])} prompts and {len(second[0])}")
    return _bootstrap((*_paired(*first), *_paired(*second)), _difference_of_ratios, definition)


def over_seeds(seeds: Sequence[Counts], definition: str) -> Number:
    """Return the mean over seeds of each seed's ratio, with an interval over prompts and seeds.

    None of a single prompt, which tells nothing of prompts.
    """
    if len(seeds) == 1:
        return ratio(*seeds[0], definition)
    if len(seeds[0][0]) == 1:
        value = math.fsum(ratio(*counts, definition).value for counts in seeds) / len(seeds)
        return Number(value, None, None, 1, definition)
    return student(effect(seeds), definition)


def difference(
    first: Sequence[Counts],
    second: Sequence[Counts],
    definition: str,
    *,
    paired_seeds: bool = False,
) -> Number:
    """Return first - second, each a mean over seeds of a ratio, on the same prompts."""
    if len(first) == len(second) == 1:
        return ratio_difference(first[0], second[0], definition)
    return student(effect(first, second, paired_seeds=paired_seeds), definition)


def student(found: "Effect", definition: str) -> Number:
    """Return an estimate with its 95 % interval, by the t law."""
    from scipy import stats

    half = float(stats.t.ppf(0.975, found.degrees)) * found.standard_error
    return Number(found.value, found.value - half, found.value + half, found.n, definition)


@dataclass(frozen=True)
class Effect:
    """An estimate, its standard error, and the degrees of freedom of that.

    `seeds_error` is the part of the standard error that more prompts do not make smaller.
    """

    value: float
    standard_error: float
    degrees: float
    n: int
    seeds_error: float = 0.0

    def on_prompts(self, n: int, inflated: float = 1.0) -> tuple[float, float]:
        """Return the standard error of such an estimate on n prompts, and its degrees of freedom.

        `inflated`: by how much the variance over prompts is taken to be larger than it was.
        """
        of_prompts, of_seeds = self.standard_error**2 - self.seeds_error**2, self.seeds_error**2
        # What Satterthwaite's formula has of the seeds: part^2 / degrees, summed over their parts.
        seeds_spread = self.standard_error**4 / self.degrees - of_prompts**2 / (self.n - 1)
        of_prompts *= inflated * self.n / n
        variance = of_prompts + of_seeds
        spread = of_prompts**2 / (n - 1) + (max(seeds_spread, 0.0) if of_seeds else 0.0)
        return math.sqrt(variance), variance**2 / spread if spread else n - 1


def effect(
    first: Sequence[Counts], second: Sequence[Counts] = (), *, paired_seeds: bool = False
) -> Effect:
    """Return the mean ratio of `first`, less that of `second`, each of one seed or several.

    Prompts are shared by all seeds, seeds are the method's own, so the variance has a part for the
    prompts (of their influence, averaged over seeds: the delta method) and one for the seeds of
    each side; the degrees of freedom are Satterthwaite's (1946). A bootstrap of three seeds would
    be far too sure: it has ten different samples. Of a single seed no more is known than its
    prompts. With `paired_seeds` both sides have the same seeds, in the same order, and what counts
    is how their differences spread. Raises ValueError on fewer than two prompts, or if sides differ
    in their number.
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
        ratios.append([sign * float(_ratio_of_sums(*_paired(*counts))) for counts in side])
        moves_B += sign * np.mean([_influence(*_paired(*counts)) for counts in side], axis=0)
    value = math.fsum(math.fsum(side) / len(side) for side in ratios)
    if paired_seeds and second:
        ratios = [[a + b for a, b in zip(*ratios, strict=True)]]
    parts = [
        (float(np.var(side, ddof=1)) / len(side), len(side) - 1) for side in ratios if len(side) > 1
    ]
    seeds_error = math.sqrt(math.fsum(part for part, _ in parts))
    parts.append((float(np.var(moves_B, ddof=1)) / n, n - 1))
    variance = math.fsum(part for part, _ in parts)
    spread = math.fsum(part**2 / degrees for part, degrees in parts)
    degrees = variance**2 / spread if spread else n - 1
    return Effect(value, math.sqrt(variance), degrees, n, seeds_error)


def _influence(top_B: Floats, bottom_B: Floats) -> Floats:
    """Return how each prompt moves a ratio of sums, to first order."""
    moves_B: Floats = (top_B - _ratio_of_sums(top_B, bottom_B) * bottom_B) / bottom_B.mean()
    return moves_B


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
