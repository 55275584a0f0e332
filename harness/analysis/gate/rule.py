"""The rule of the gate: has a rate fallen by more than a margin, not, or is it too soon to say?

The gate fails if the paired interval of (now - before) lies below -margin as a whole, and passes if
it lies above it as a whole (non-inferiority); else more prompts are needed. Prompts may be added
and looked at again. Each look is one more chance to err, and so is each comparison, so the error is
divided by both (Bonferroni: it holds however looks and comparisons depend on each other). The
probability that any of a gate's intervals misses the true difference, on the side where the gate
then errs, is at most `ERROR`.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from draftmark.analysis.statistics import Counts, Effect, estimate_effect, t_interval

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
ERROR = 0.01  # of a gate as a whole, on one side
POWER = 0.95  # with which a drop of twice the margin fails, and no drop passes
_ASSURANCE = 0.9  # that a spread seen on few prompts is not taken for too small
_MOST = 10**9  # prompts: beyond it no number will do


@dataclass(frozen=True)
class Rule:
    """A margin, in the units of the rate, and the numbers that the gate's error is divided by."""

    margin: float
    comparisons: int = 1
    looks: int = 1

    @property
    def level(self) -> float:
        """The error of one comparison at one look, on one side."""
        return ERROR / (self.comparisons * self.looks)

    def interval(self, found: Effect) -> tuple[float, float]:
        """Return the interval of a difference at this level."""
        return t_interval(found.value, found.standard_error, found.degrees, 1 - self.level)

    def verdict(self, low: float, high: float) -> Verdict:
        """Return the verdict on an interval of (now - before); an improvement never fails."""
        if high < -self.margin:
            return "FAIL"
        return "PASS" if low > -self.margin else "INCONCLUSIVE"


def overall_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict on all together: one FAIL fails, all have to PASS."""
    if "FAIL" in verdicts:
        return "FAIL"
    return "PASS" if verdicts and set(verdicts) == {"PASS"} else "INCONCLUSIVE"


def look_sizes(first: int, last: int) -> list[int]:
    """Return the numbers of prompts to look at: each twice the one before, up to the last."""
    sizes = [first]
    while sizes[-1] < last:
        sizes.append(min(2 * sizes[-1], last))
    return sizes


def prompts_needed(pilot: Effect, rule: Rule) -> int | None:
    """Return how many prompts let 95 of 100 gates fail at twice the margin, and pass at no drop.

    `pilot` is a difference of two runs on some prompts; its spread is taken at its upper 90 % limit
    (Browne 1995), as few prompts may flatter it. None if seeds differ by too much for the margin.
    """
    from scipy import stats

    def enough(n: int) -> bool:
        error, degrees = pilot.on_prompts(n, limit)
        reach = sum(float(stats.t.ppf(p, degrees)) for p in (1 - rule.level, POWER))
        return reach * error <= rule.margin

    limit = (pilot.n - 1) / float(stats.chi2.ppf(1 - _ASSURANCE, pilot.n - 1))
    # More prompts leave the few degrees of freedom of the seeds: beyond some number the reach grows
    # again. So the first doubling that is enough is sought, and the least number within it.
    last = next(filter(enough, (2**power for power in range(1, _MOST.bit_length()))), None)
    if last is None:
        return None
    inside = range(last // 2 + 1, last)
    return inside.start + int(bisect_left(inside, True, key=enough))


def unrelated_effect(counts: Counts) -> Effect:
    """Return the pilot of a single run: a bound on how its difference to another would spread.

    If no prompt is harder for the second run where it is easier for this one, the difference of two
    runs as good as this one spreads at most as that of independent runs.
    """
    one = estimate_effect([counts])
    return Effect(0.0, math.sqrt(2) * one.standard_error, one.degrees, one.n)
