"""The rule of the gate: whether a rate has fallen by more than a margin.

The gate fails if the whole paired interval of (now - before) lies below -margin, and passes if the
whole interval lies above -margin (non-inferiority); otherwise it needs more prompts. Prompts may be
added for another look. Each look and each comparison is one more chance to err, so the error is
divided by both numbers (Bonferroni, valid under any dependence). A gate's probability of any wrong
PASS is at most `ERROR`, and so is its probability of any wrong FAIL.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from draftmark.analysis.significance import first_true
from draftmark.analysis.statistics import LEAST_DEGREES, Counts, Effect, estimate_effect

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
ERROR = 0.01  # one-sided error probability of a whole gate
POWER = 0.95  # probability that a drop of twice the margin fails, and that no drop passes
_ASSURANCE = 0.9  # confidence of the upper limit of a spread seen on few prompts
_MOST = 10**9  # prompts; a gate that needs more cannot be decided


@dataclass(frozen=True)
class Rule:
    """A margin in the units of the rate, with the numbers of comparisons and looks."""

    margin: float
    comparisons: int = 1
    looks: int = 1

    @property
    def level(self) -> float:
        """The one-sided error of one comparison at one look."""
        return ERROR / (self.comparisons * self.looks)

    def interval(self, found: Effect) -> tuple[float, float]:
        """Return the interval of a difference at this level.

        It is the whole range of the rate if there are too few prompts for the level.
        """
        if self.allows(found.n):
            return found.interval(1 - self.level)
        return found.bounds or (-math.inf, math.inf)

    def allows(self, prompts: int) -> bool:
        """True if so many prompts can decide at this level, by one sign of all their differences.

        A prompt's difference from -margin has either sign with equal chance if the rate fell by
        just the margin.
        """
        return 2.0**-prompts <= self.level

    def verdict(self, low: float, high: float) -> Verdict:
        """Return the verdict on an interval of (now - before); an improvement never fails."""
        if high < -self.margin:
            return "FAIL"
        return "PASS" if low > -self.margin else "INCONCLUSIVE"


def overall_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """Return FAIL if any verdict is FAIL, PASS if all are PASS, else INCONCLUSIVE."""
    if "FAIL" in verdicts:
        return "FAIL"
    return "PASS" if verdicts and set(verdicts) == {"PASS"} else "INCONCLUSIVE"


def look_sizes(first: int, last: int) -> list[int]:
    """Return the number of prompts at each look: doubled from `first` up to `last`."""
    sizes = [first]
    while sizes[-1] < last:
        sizes.append(min(2 * sizes[-1], last))
    return sizes


def prompts_needed(pilot: Effect, rule: Rule) -> int | None:
    """Return the number of prompts at which a gate has the power `POWER`.

    `pilot` is the difference of two runs on a few prompts, with its spread at the upper 90 % limit
    (Browne 1995), as few prompts may understate it. None if seeds differ too much for the margin.
    """
    from scipy import stats

    def enough(n: int) -> bool:
        error, degrees = pilot.on_prompts(n, limit)
        if not rule.allows(n):
            return False
        reach = sum(float(stats.t.ppf(p, degrees)) for p in (1 - rule.level, POWER))
        return reach * error <= rule.margin

    known = max(pilot.effective_n - 1, LEAST_DEGREES)
    limit = known / float(stats.chi2.ppf(1 - _ASSURANCE, known))
    # With many prompts only the seeds' few degrees of freedom are left, and the reach grows again.
    return first_true(enough, _MOST)


def unrelated_effect(counts: Counts) -> Effect:
    """Return the pilot of a single run: an upper bound on the spread of a difference.

    Two equally good runs whose prompts correlate by 0 or more spread at most as independent runs.
    """
    one = estimate_effect([counts])
    error = math.sqrt(2) * one.standard_error
    return Effect(0.0, error, one.degrees, one.n, effective=one.effective)
