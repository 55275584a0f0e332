"""Paired tests, their power, and the groups of methods that cannot be distinguished.

The units are prompts and, one level above, seeds: see `statistics.estimate_effect`.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from string import ascii_lowercase

import numpy as np

from draftmark.analysis.statistics import Effect
from draftmark.results import Number
from draftmark.store.acceptance_tables import Floats

LEVEL = 0.05
POWER = 0.8
_MOST = 10**9  # prompts


@dataclass(frozen=True)
class PairedTest:
    """A test of the null hypothesis that two ratios on the same prompts are equal."""

    p_value: float
    found: Effect

    def number(self, definition: str, level: float = LEVEL) -> Number:
        """Return the difference with an interval that has 0 inside if p is not below `level`."""
        number = self.found.number(definition, 1 - level / 2)
        if number.low is None or number.high is None or self.p_value < level:
            return number
        # Too few prompts differ for any verdict, so the t interval may be too narrow.
        return replace(number, low=min(number.low, 0.0), high=max(number.high, 0.0))

    @property
    def detectable(self) -> float | None:
        """The difference that a two-sided test at 5 % detects with power 0.8.

        0 if the two sides agree on every prompt. None if no difference could be found on so few
        prompts, or if the difference is the same on all of them, so that its spread is unknown.
        """
        if not self.found.differing_n:
            return 0.0
        if least_p(self.found.n) >= LEVEL or (self.found.value and not self.found.standard_error):
            return None
        return noncentrality(self.found.degrees) * self.found.standard_error

    def prompts_needed(self, wanted: float) -> int | None:
        """Return the number of prompts that detects a difference of `wanted` with power 0.8.

        The number is for these trained drafts: more prompts do not reduce the spread of seeds.
        None if the spread is unknown, as one prompt has nearly all the weight. Raises ValueError if
        `wanted` is 0.
        """
        if wanted == 0:
            raise ValueError("no number of prompts detects a difference of 0")
        found = self.found
        of_prompts = max(found.standard_error**2 - found.seeds_error**2, 0.0)
        one_prompt, share = math.sqrt(of_prompts * found.n), found.effective_n / found.n

        def enough(n: int) -> bool:
            degrees = share * n - 1
            if least_p(n) >= LEVEL or degrees <= 0:
                return False
            return noncentrality(degrees) * one_prompt / math.sqrt(n) <= abs(wanted)

        return first_true(enough, _MOST)


def first_true(enough: Callable[[int], bool], most: int) -> int | None:
    """Return the least number up to `most` that is enough; None if no power of two is.

    Between two powers of two of which the higher is enough, all above the least are enough.
    """
    last = next(filter(enough, (2**power for power in range(most.bit_length()))), None)
    if last is None:
        return None
    inside = range(last // 2 + 1, last)
    return inside.start + bisect_left(inside, True, key=enough)


def noncentrality(degrees: float) -> float:
    """Return the true effect, in standard errors, that a two-sided t test at 5 % mostly detects.

    It is detected with power 0.8: the noncentrality of a t distribution.
    """
    from scipy import optimize, stats

    critical = float(stats.t.ppf(1 - LEVEL / 2, degrees))
    # With few degrees of freedom the error of the standard error decides alone.
    spread_alone = critical * math.sqrt(float(stats.chi2.ppf(POWER, degrees)) / degrees)
    if degrees < 1:
        return spread_alone or math.inf

    def missing(effect: float) -> float:
        return float(stats.nct.sf(critical, degrees, effect)) - POWER

    return float(optimize.brentq(missing, spread_alone - 0.1, spread_alone + 3))


def least_p(prompts: int) -> float:
    """Return the least p value that a number of prompts allows, two-sided.

    If two methods are equal, each prompt's difference might as well have the other sign. Of the
    2^prompts choices of signs, two are as extreme as one sign for all.
    """
    return min(1.0, 2.0 ** (1 - prompts))


def t_test(found: Effect) -> PairedTest:
    """Return the t test of an estimated difference; p is not below `least_p`.

    Prompts on which the two sides have the same counts say nothing about a sign.
    """
    from scipy import stats

    p_value = 0.0 if found.value else 1.0
    if found.standard_error:
        ratio = abs(found.value) / found.standard_error
        p_value = float(2 * stats.t.sf(ratio, found.degrees))
    return PairedTest(max(p_value, least_p(found.differing_n)), found)


def sign_flip_p(first: Sequence[Floats], second: Sequence[Floats]) -> float:
    """Return the exact p value of the test that two methods are right equally often.

    `first`, `second`: for each seed, 0 or 1 for each prompt [B]. Under the null hypothesis the
    difference of each prompt, summed over seeds, might as well have the other sign (Fisher 1935).
    With one seed each the test is McNemar's (1947).
    """
    ones_B = len(second) * np.sum(first, axis=0) - len(first) * np.sum(second, axis=0)
    differences = np.rint(ones_B).astype(int)
    chances = np.ones(1)  # of each sum of signed differences, from the least sum to the highest
    for step in np.abs(differences[differences != 0]):
        chances = (np.pad(chances, (0, 2 * step)) + np.pad(chances, (2 * step, 0))) / 2
    sums = np.arange(len(chances)) - len(chances) // 2
    return float(chances[np.abs(sums) >= abs(differences.sum())].sum())


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted to control the family-wise error (Holm 1979)."""
    ordered = np.argsort(p_values, kind="stable")
    factors = np.arange(len(ordered), 0, -1)
    adjusted = np.empty(len(ordered))
    adjusted[ordered] = np.maximum.accumulate(np.take(p_values, ordered) * factors)
    found: list[float] = adjusted.clip(max=1.0).tolist()
    return found


def group_letters(number: int, differ: Callable[[int, int], bool]) -> list[str]:
    """Return the letters of each of `number` contenders, in order of rank.

    Two contenders share a letter if and only if they do not differ. This compact letter display is
    built by inserting differences one by one and absorbing covered groups (Piepho 2004).
    """
    groups = [frozenset(range(number))]
    for pair in combinations(range(number), 2):
        if differ(*pair):
            groups = _split(groups, frozenset(pair))
    groups.sort(key=sorted)
    names = [*ascii_lowercase, *(f"({a}{b})" for a, b in product(ascii_lowercase, repeat=2))]
    return [
        "".join(name for name, group in zip(names, groups, strict=False) if item in group)
        for item in range(number)
    ]


def _split(groups: Sequence[frozenset[int]], pair: frozenset[int]) -> list[frozenset[int]]:
    """Split groups that contain the pair, and drop groups that lie within another."""
    parts: list[frozenset[int]] = []
    for group in groups:
        parts += [group - {item} for item in pair] if pair <= group else [group]
    unique = list(dict.fromkeys(parts))
    return [part for part in unique if not any(part < other for other in unique)]
