"""Which block length to serve with, and whether with a draft at all: what can be told apart.

A candidate is a draft at a block length (gamma), or the target alone (gamma 0, speedup 1). Of each
there is the logarithm of its speedup and how far every unit moves that, to first order: a prompt, a
seed, a repeat of timing, a block of a speed run. Candidates that share units are compared on them,
so that what moves both alike drops out.

The highest estimate of several is not yet the best: each of the others is held against it, and all
intervals of a choice, of every draft at every block length, hold at once (95 % together,
Bonferroni), as in comparisons with the best (Hsu 1981).

Legend: B prompt.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from draftmark.analysis.cost_model import times_of
from draftmark.analysis.expected_speedup import Costs, Seeds, times_with
from draftmark.analysis.statistics import Counts
from draftmark.results import Number
from draftmark.speculation.blocks import BlockCounts
from draftmark.store.acceptance_tables import Floats
from draftmark.store.speed_records import TimedPass
from draftmark.types import Arm

_LEVEL = 0.05  # of all comparisons of a choice together
_EQUAL = 1e-9  # logs that rounding alone makes different
_DEFINITION = "speedup; the interval holds for all drafts and block lengths compared, at once"


@dataclass(frozen=True)
class Estimate:
    """The logarithm of a speedup; `moves`: for each source of noise what each unit adds to it."""

    value: float
    moves: Mapping[str, Floats]

    def minus(self, other: "Estimate") -> "Estimate":
        """Return the difference, paired on the units of sources that both have."""
        moves = {name: +values for name, values in self.moves.items()}
        for name, values in other.moves.items():
            moves[name] = moves[name] - values if name in moves else -values
        return Estimate(self.value - other.value, moves)

    def ends(self, level: float) -> tuple[float, float]:
        """Return the ends of a t interval of the logarithm.

        Variances of sources add up; degrees of freedom are Satterthwaite's. Where a source has one
        unit alone nothing is known of its spread, and the interval has no ends.
        """
        from scipy import stats

        if any(len(values) < 2 for values in self.moves.values()):
            return -math.inf, math.inf
        parts = [(float(v.var(ddof=1)) / len(v), len(v) - 1) for v in self.moves.values()]
        variance = math.fsum(part for part, _ in parts)
        if not variance:
            return self.value, self.value
        degrees = variance**2 / math.fsum(part**2 / df for part, df in parts)
        half = float(stats.t.ppf(0.5 + level / 2, degrees)) * math.sqrt(variance)
        return self.value - half, self.value + half

    def number(self, level: float) -> Number:
        """Return the speedup with its interval, without one where nothing is known of it."""
        low, high = (math.exp(end) if math.isfinite(end) else None for end in self.ends(level))
        units = min((len(values) for values in self.moves.values()), default=0)
        return Number(math.exp(self.value), low, high, units, _DEFINITION)


ALONE = Estimate(0.0, {})  # the target without a draft


@dataclass(frozen=True)
class Advice:
    """What to serve with: `gamma`, 0 where no block length is known to pay.

    `highest` has the highest estimate of all block lengths that draft. The best is the highest of
    those that pay for certain, or of all where none does; `tied` are the candidates, 0 among them,
    that it is not known to beat. `gamma` is the shortest of the tied that pays for certain. All
    intervals hold at `level`.
    """

    gamma: int
    highest: int
    tied: tuple[int, ...]
    candidates: Mapping[int, Estimate]
    level: float

    @property
    def estimate(self) -> Estimate:
        """What is known of `gamma`; where that is 0, of `highest`."""
        return self.candidates[self.gamma or self.highest]

    @property
    def loses(self) -> bool:
        """True where every block length is slower than the target alone, for certain."""
        return self.tied == (0,)

    def number(self, gamma: int) -> Number:
        """Return the speedup at a block length; the interval holds for all of them at once."""
        return self.candidates[gamma].number(self.level)


def advise(candidates: Mapping[int, Estimate], drafts: int = 1) -> Advice:
    """Return what to serve with, of a draft's block lengths; raises ValueError on none.

    `drafts`: how many there are to choose among. Of many that are worth nothing one would be named.
    """
    if not candidates:
        raise ValueError("no block lengths to choose among")
    level = _level(len(candidates) * drafts)
    sure = {gamma: item for gamma, item in candidates.items() if _ahead(item, ALONE, level)}
    every = {0: ALONE} | dict(sorted(candidates.items()))
    best = every[_highest(sure or every)]
    tied = tuple(gamma for gamma, item in every.items() if not _ahead(best, item, level))
    pays = (gamma for gamma in tied if gamma in sure)
    return Advice(min(pays, default=0), _highest(candidates), tied, candidates, level)


def rivals(found: Mapping[str, Advice]) -> list[str]:
    """Return the drafts to serve with: the one of the highest speedup, then what is tied with it.

    Of drafts that pay, each at its own block length; none where no draft is known to pay.
    """
    paying = {name: item.estimate for name, item in found.items() if item.gamma}
    if not paying:
        return []
    first = max(paying, key=lambda name: paying[name].value)
    level = _level(max(len(paying) - 1, 1))
    others = [name for name in paying if name != first]
    return [first, *(n for n in others if not _ahead(paying[first], paying[n], level))]


def measured(ratios: Sequence[float]) -> Estimate:
    """Return the estimate of a speed run, of the ratio of times in each block of prompts."""
    logs = np.log(np.asarray(ratios, dtype=np.float64))
    return Estimate(float(logs.mean()), {"blocks": logs - logs.mean()})


def priced(seeds: Seeds, costs: Costs) -> Estimate:
    """Return the expected speedup at supposed costs: of decoding, prefill aside."""
    return _of_ratios(times_with(seeds, costs), "seeds")


def expected(
    counts: BlockCounts, parts: Sequence[TimedPass], batch: int, gamma: int, whose: str
) -> Estimate | None:
    """Return the expected speedup at the times of parts, prefill included; None if not timed.

    As `predicted_speedup` in parts.py, of all scored prompts in place of what an engine counted.
    `whose` parts: the noise of their repeats is no other draft's.
    """
    items = []
    for times in times_of(parts, batch, gamma):
        target, draft = times.prefills
        per_drafted = times.draft + times.verification_cost(gamma) * times.plain
        passes_B = counts.passes_B * times.plain + counts.drafted_B * per_drafted
        items.append((target + counts.tokens_B * times.plain, target + draft + passes_B))
    return _of_ratios(items, f"repeats of {whose}") if len(items) > 1 else None


def batches(parts: Sequence[TimedPass], who: Arm = "draft") -> list[int]:
    """Return the batch sizes at which the draft, or the target, was timed."""
    return sorted({part.batch_size for part in parts if part.who == who})


def in_turn(parts: Sequence[TimedPass]) -> list[TimedPass]:
    """Return parts with drafts that were timed at one text alone drafting for one after another.

    That bounds from above what such a draft takes at larger batches.
    """
    missing = set(batches(parts, "target")) - set(batches(parts))
    alone = [part for part in parts if part.who == "draft" and part.batch_size == 1]
    return [
        *parts,
        *(
            replace(part, batch_size=size, seconds=size * part.seconds)
            for size in sorted(missing)
            for part in alone
        ),
    ]


def longest_block(parts: Sequence[TimedPass]) -> int:
    """Return the longest block whose pass of the target was timed."""
    return max(part.width for part in parts if part.who == "target" and part.context) - 1


def _of_ratios(items: Sequence[Counts], source: str) -> Estimate:
    """Return the geometric mean of ratios of sums over the same prompts."""
    logs = np.array([math.log(float(top.sum() / bottom.sum())) for top, bottom in items])
    prompts_B = np.mean([top / top.mean() - bottom / bottom.mean() for top, bottom in items], 0)
    own = {source: logs - logs.mean()} if len(items) > 1 else {}
    return Estimate(float(logs.mean()), {"prompts": prompts_B} | own)


def _level(comparisons: int) -> float:
    return 1 - _LEVEL / comparisons


def _ahead(one: Estimate, other: Estimate, level: float) -> bool:
    # No interval begins above its value, and most pairs need none.
    return one.value > other.value and one.minus(other).ends(level)[0] > _EQUAL


def _highest(candidates: Mapping[int, Estimate]) -> int:
    """Return the block length of the highest estimate; of equal ones the shortest."""
    best = max(item.value for item in candidates.values())
    return min(gamma for gamma, item in candidates.items() if item.value >= best - _EQUAL)
