"""The rule of the gate: has a rate fallen by more than a margin, not, or can it not be said yet?

The paired interval of (now - before) is held against the margin: below it as a whole the gate
fails, above it as a whole it passes (non-inferiority), else more prompts are needed. Prompts may be
added and looked at again. Each look is one more chance to err, and so is each comparison of a gate,
so the error is divided by both (Bonferroni: it holds however looks and comparisons hang together).
That an interval misses the true difference, on the side where the gate then errs, happens to any of
a gate's intervals with probability `error` at most.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from draftmark.analysis.statistics import Counts, Effect, effect

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
ERROR = 0.01  # of a gate as a whole, on one side
POWER = 0.95  # with which a drop of twice the margin fails, and no drop passes
_ASSURANCE = 0.9  # that a spread seen on few prompts is not taken for too small
_MOST = 10**9  # prompts: beyond it no number will do


@dataclass(frozen=True)
class Rule:
    """A margin, in the units of the rate, and how an error of the whole gate is shared out."""

    margin: float
    comparisons: int = 1
    looks: int = 1

    @property
    def level(self) -> float:
        """The error of one comparison at one look, on one side."""
        return ERROR / (self.comparisons * self.looks)

    def interval(self, found: Effect) -> tuple[float, float]:
        """Return the interval of a difference at this level."""
        from scipy import stats

        half = float(stats.t.ppf(1 - self.level, found.degrees)) * found.standard_error
        return found.value - half, found.value + half

    def verdict(self, low: float, high: float) -> Verdict:
        """Return what an interval of (now - before) says; an improvement never fails."""
        if high < -self.margin:
            return "FAIL"
        return "PASS" if low > -self.margin else "INCONCLUSIVE"


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """Return what several verdicts come to: one that fails is enough, and all have to pass."""
    if "FAIL" in verdicts:
        return "FAIL"
    return "PASS" if verdicts and set(verdicts) == {"PASS"} else "INCONCLUSIVE"


def looks(first: int, last: int) -> list[int]:
    """Return the numbers of prompts to look at: each twice the one before, up to the last."""
    sizes = [first]
    while sizes[-1] < last:
        sizes.append(min(2 * sizes[-1], last))
    return sizes


def prompts_needed(pilot: Effect, rule: Rule) -> int | None:
    """Return how many prompts let a gate fail at a true drop of twice the margin, in 95 of 100.

    As many let it pass where nothing fell. `pilot` is a difference of two runs on some prompts; its
    spread is taken at its upper 90 % limit (Browne 1995), for few prompts may flatter it. None if
    no number will do: seeds differ by too much for the margin.
    """
    from scipy import stats

    def enough(n: int) -> bool:
        error, degrees = pilot.on_prompts(n, limit)
        reach = sum(float(stats.t.ppf(p, degrees)) for p in (1 - rule.level, POWER))
        return reach * error <= rule.margin

    limit = (pilot.n - 1) / float(stats.chi2.ppf(1 - _ASSURANCE, pilot.n - 1))
    # More prompts leave the few degrees of freedom of the seeds: beyond some number the reach grows
    # again. So the first doubling that is enough is sought, and the least number within it.
    doublings = (2**power for power in range(1, _MOST.bit_length()))
    last = next(filter(enough, doublings), None)
    if last is None:
        return None
    inside = range(last // 2 + 1, last)
    return inside.start + int(bisect_left(inside, True, key=enough))


def unrelated(counts: Counts) -> Effect:
    """Return the pilot of a run that there is no second one of: a bound on the spread.

    Of two runs as good as this one, whose prompts are not harder for the one where they are easier
    for the other, the difference spreads at most as if they had nothing in common.
    """
    one = effect([counts])
    return Effect(0.0, math.sqrt(2) * one.standard_error, one.degrees, one.n)
