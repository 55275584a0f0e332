"""Paired tests, their power, and the groups of methods that cannot be distinguished.

The units are prompts and, one level above, seeds: see `statistics.estimate_effect`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from string import ascii_lowercase

import numpy as np

from draftmark.analysis.statistics import Effect


@dataclass(frozen=True)
class PairedTest:
    """A t test of the null hypothesis that two ratios on the same prompts are equal."""

    p_value: float
    found: Effect

    @property
    def detectable(self) -> float:
        """The difference that a two-sided test at 5 % detects with power 0.8."""
        return _detectable(self.found.standard_error, self.found.degrees)

    def prompts_needed(self, wanted: float) -> int:
        """Return the number of prompts that detects a difference of `wanted` with power 0.8.

        The number is for these trained drafts: more prompts do not reduce the spread of seeds.
        Raises ValueError if `wanted` is 0.
        """
        if wanted == 0:
            raise ValueError("no number of prompts detects a difference of 0")
        n = self.found.n
        of_prompts = math.sqrt(max(self.found.standard_error**2 - self.found.seeds_error**2, 0.0))
        return math.ceil(n * (_detectable(of_prompts, n - 1) / wanted) ** 2)


def _detectable(standard_error: float, degrees: float) -> float:
    from scipy import stats

    return sum(float(stats.t.ppf(level, degrees)) for level in (0.975, 0.8)) * standard_error


def t_test(found: Effect) -> PairedTest:
    """Return the t test of an estimated difference."""
    from scipy import stats

    if found.standard_error == 0:
        p_value = 1.0 if found.value == 0 else 0.0
    else:
        ratio = abs(found.value) / found.standard_error
        p_value = float(2 * stats.t.sf(ratio, found.degrees))
    return PairedTest(p_value, found)


def mcnemar_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the exact p value of McNemar's test (1947) that two methods are right equally often.

    Only prompts on which the methods disagree count. `first`, `second`: 0 or 1 for each prompt.
    """
    from scipy import stats

    pairs = list(zip(first, second, strict=True))
    gained, lost = pairs.count((1.0, 0.0)), pairs.count((0.0, 1.0))
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


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
