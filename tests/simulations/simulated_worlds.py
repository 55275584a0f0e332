"""Simulated experiments whose true rates are known: prompts differ in length and in acceptance.

The tokens of a prompt share its acceptance, so they are not independent of each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from draftmark.analysis.statistics import Counts
from draftmark.store.acceptance_tables import Floats

Random = np.random.Generator
SHORTEST, LONGEST = 20, 2000  # tokens of a text with Pareto's lengths
NOISE = 0.08  # what two drafts make of a prompt differs by as much, up or down


def _pareto(random: Random, n: int) -> Floats:
    """Return lengths with a density that falls as 1 / length^2, cut at both ends."""
    share = random.random(n)
    return np.asarray(np.floor(1 / (1 / SHORTEST - share * (1 / SHORTEST - 1 / LONGEST))))


LENGTHS: dict[str, Callable[[Random, int], Floats]] = {
    "equal": lambda random, n: np.full(n, 60.0),
    "lognormal": lambda random, n: np.asarray(np.floor(random.lognormal(4.2, 0.7, n)) + 5),
    "Pareto": _pareto,
}


@dataclass(frozen=True)
class Acceptance:
    """How the prompts' own acceptance rates are distributed: a beta distribution."""

    mean: float
    spread: float  # standard deviation over prompts

    def draw(self, random: Random, lengths_B: Floats) -> Floats:
        """Return a rate for each prompt."""
        common = self.mean * (1 - self.mean) / self.spread**2 - 1
        return random.beta(self.mean * common, (1 - self.mean) * common, len(lengths_B))

    def truth(self, lengths: str) -> float:
        """Return the rate over infinitely many tokens."""
        return self.mean


@dataclass(frozen=True)
class LongerIsEasier(Acceptance):
    """Rates that rise with the length of the text, from 0.4 to 0.8, and spread around that."""

    def draw(self, random: Random, lengths_B: Floats) -> Floats:
        """Return a rate for each prompt."""
        place_B = np.log(lengths_B / SHORTEST) / np.log(LONGEST / SHORTEST)
        rate_B = 0.4 + 0.4 * np.clip(place_B, 0, 1)
        return np.clip(rate_B + random.uniform(-1, 1, len(lengths_B)) * self.spread, 0, 1)

    @cache  # noqa: B019  (the instances live as long as the module)
    def truth(self, lengths: str) -> float:
        """Return the rate over infinitely many tokens."""
        random = np.random.default_rng(0)
        lengths_B = LENGTHS[lengths](random, 1_000_000)
        return float((lengths_B * self.draw(random, lengths_B)).sum() / lengths_B.sum())


RATES = {
    "0.6 ± 0.15": Acceptance(0.6, 0.15),
    "0.03 ± 0.03": Acceptance(0.03, 0.03),
    "0.97 ± 0.03": Acceptance(0.97, 0.03),
    "0.4 to 0.8, higher in long texts": LongerIsEasier(0.6, 0.15),
    "0.02 ± 0.05: most prompts accept nothing": Acceptance(0.02, 0.05),
}


def counts(random: Random, lengths: str, acceptance: Acceptance, n: int) -> Counts:
    """Return (accepted, tested) of n prompts."""
    lengths_B = LENGTHS[lengths](random, n)
    rates_B = acceptance.draw(random, lengths_B)
    return random.binomial(lengths_B.astype(int), rates_B).astype(float), lengths_B


def pair(random: Random, lengths: str, n: int, gain: float = 0.0) -> tuple[Counts, Counts]:
    """Return (accepted, tested) of two drafts on n prompts; the first is better by `gain`.

    Rates lie between 0.25 and 0.85, so a gain of up to 0.05 is never cut.
    """
    lengths_B = LENGTHS[lengths](random, n)
    common_B = random.uniform(0.33, 0.72, n)
    sides = []
    for more in (gain, 0.0):
        own_B = common_B + more + random.uniform(-NOISE, NOISE, n)
        accepted_B = random.binomial(lengths_B.astype(int), own_B).astype(float)
        sides.append((accepted_B, lengths_B))
    return sides[0], sides[1]


def time_ratios(random: Random, blocks: int, disturbed: float) -> Floats:
    """Return each block's time ratio: 1.3, a noise of 3 %, and twice that if disturbed."""
    slow = random.random(blocks) < disturbed
    return np.asarray(1.3 * np.exp(random.normal(0, 0.03, blocks)) * np.where(slow, 2.0, 1.0))


@cache
def median_ratio(disturbed: float) -> float:
    """Return the median of `time_ratios` over infinitely many blocks."""
    return float(np.median(time_ratios(np.random.default_rng(0), 1_000_000, disturbed)))
