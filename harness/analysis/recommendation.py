"""Recommend a block length to serve with, or no draft, as far as the measurements can tell.

A candidate is a draft at a block length (gamma), or the target alone (gamma 0, speedup 1). An
estimate is the logarithm of a candidate's speedup, with the first-order contribution of each unit:
a prompt, a seed, a timing repeat, a block of a speed run. Candidates that share units are compared
on those units, so noise that is common to both cancels.

The candidate with the highest estimate need not be the best, so every other one is compared with
it. All intervals, of every draft at every block length, cover together with probability 95 %
(Bonferroni), as in multiple comparisons with the best (Hsu 1981).

Legend: B prompt.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from draftmark.analysis.cell_counts import conversation_sums
from draftmark.analysis.cost_model import Costs, Seeds, block_times
from draftmark.analysis.intervals import from_scale, t_interval
from draftmark.analysis.predicted_speedup import timed_costs
from draftmark.analysis.statistics import (
    LEAST_DEGREES,
    POSITIVE,
    Counts,
    effective_number,
    rates_without_each,
    standard_error,
)
from draftmark.results import Number
from draftmark.speculation.blocks import BlockSums
from draftmark.store.acceptance_tables import Floats
from draftmark.store.speed_records import TimedPass
from draftmark.types import Arm

_LEVEL = 0.05  # error of all comparisons of a choice together
_MEDIAN_NOISE = math.sqrt(math.pi / 2)
MOST_BLOCKS = 100  # a difference that needs more blocks of prompts hardly matters
_EQUAL = 1e-9  # logarithms that differ by less are equal up to rounding
_DEFINITION = "speedup; the interval is simultaneous over all drafts and block lengths compared"


@dataclass(frozen=True)
class Estimate:
    """The logarithm of a speedup; `moves` maps a noise source to each unit's contribution.

    `effective` is the effective number of units of a source, where some units weigh more.
    """

    value: float
    moves: Mapping[str, Floats]
    effective: Mapping[str, float] = field(default_factory=dict)

    def minus(self, other: "Estimate") -> "Estimate":
        """Return the difference of two estimates, paired on the noise sources they share."""
        moves = {name: +values for name, values in self.moves.items()}
        for name, values in other.moves.items():
            moves[name] = moves[name] - values if name in moves else -values
        known = [*self.effective.items(), *other.effective.items()]
        effective = {name: min(n for key, n in known if key == name) for name, _ in known}
        return Estimate(self.value - other.value, moves, effective)

    def ends(self, level: float) -> tuple[float, float]:
        """Return (low, high) of the logarithm's t interval; infinite if a source has one unit."""
        if any(len(values) < 2 for values in self.moves.values()):
            return -math.inf, math.inf
        noise = [
            (values, max(self.effective.get(name, len(values)) - 1, LEAST_DEGREES))
            for name, values in self.moves.items()
        ]
        return t_interval(self.value, *standard_error(noise), 0.5 + level / 2)

    def number(self, level: float) -> Number:
        """Return the speedup with its interval; no interval if a source has only one unit."""
        ends = (from_scale(end, POSITIVE) for end in self.ends(level))
        low, high = (end if 0 < end < math.inf else None for end in ends)
        units = min((len(values) for values in self.moves.values()), default=0)
        return Number(math.exp(self.value), low, high, units, _DEFINITION)


ALONE = Estimate(0.0, {})  # the target without a draft


@dataclass(frozen=True)
class Advice:
    """The recommended block length `gamma`; 0 if no block length is known to pay.

    A block length pays if its interval, at `level`, lies above a speedup of 1. The leader has the
    highest estimate of the block lengths that pay, or of all candidates if none pays. `tied` has
    the candidates (0 included) that the leader is not known to beat; `gamma` is the shortest of
    `tied` that pays. `highest` is the block length above 0 with the highest estimate.
    """

    gamma: int
    highest: int
    tied: tuple[int, ...]
    candidates: Mapping[int, Estimate]
    level: float

    @property
    def estimate(self) -> Estimate:
        """The estimate at `gamma`, or at `highest` where gamma is 0."""
        return self.candidates[self.gamma or self.highest]

    @property
    def loses(self) -> bool:
        """True if every block length is known to be slower than the target alone."""
        return self.tied == (0,)

    def number(self, gamma: int) -> Number:
        """Return the speedup at a block length with its simultaneous interval."""
        return self.candidates[gamma].number(self.level)


def recommend(candidates: Mapping[int, Estimate], drafts: int = 1) -> Advice:
    """Return the recommended block length of a draft; raises ValueError without candidates.

    `drafts` is the number of drafts to choose from: intervals widen with it (Bonferroni).
    """
    if not candidates:
        raise ValueError("no block lengths to choose among")
    level = 1 - _LEVEL / (len(candidates) * drafts)
    sure = {gamma: item for gamma, item in candidates.items() if _ahead(item, ALONE, level)}
    every = {0: ALONE} | dict(sorted(candidates.items()))
    best = every[_highest(sure or every)]
    tied = tuple(gamma for gamma, item in every.items() if not _ahead(best, item, level))
    pays = (gamma for gamma in tied if gamma in sure)
    return Advice(min(pays, default=0), _highest(candidates), tied, candidates, level)


def drafts_to_serve(advice: Mapping[str, Advice]) -> list[str]:
    """Return the drafts to serve with: the one with the highest speedup, then those tied with it.

    Only drafts that pay are compared, each at its own block length; empty if none pays.
    """
    paying = {name: item.estimate for name, item in advice.items() if item.gamma}
    if not paying:
        return []
    first = max(paying, key=lambda name: paying[name].value)
    level = 1 - _LEVEL / max(len(paying) - 1, 1)
    others = [name for name in paying if name != first]
    return [first, *(n for n in others if not _ahead(paying[first], paying[n], level))]


@dataclass(frozen=True)
class Doubt:
    """What advice cannot tell: whether `draft` pays, or which of `draft` and `rival` is faster.

    `blocks` of prompts were measured, `needed` would tell a difference of the same size and spread;
    None if more than MOST_BLOCKS. Both are None where the cost model gives the advice.
    """

    draft: str
    rival: str = ""
    blocks: int | None = None
    needed: int | None = None


def doubt_of(advice: Mapping[str, Advice]) -> Doubt | None:
    """Return what the advice on drafts cannot tell; None if every other choice is known to lose."""
    first = next(iter(drafts_to_serve(advice)), "")
    if not first:
        best = max(advice, key=lambda name: advice[name].estimate.value)
        own = advice[best]
        return None if own.loses else _doubt(best, "", own.candidates[own.highest], own.level)
    level = 1 - _LEVEL / max(len(advice) - 1, 1)
    chosen = advice[first].estimate
    rivals = {name: it.estimate for name, it in advice.items() if name != first and not it.loses}
    unsure = [name for name, item in rivals.items() if not _ahead(chosen, item, level)]
    if not unsure:
        return None
    rival = max(unsure, key=lambda name: rivals[name].value)
    return _doubt(first, rival, chosen.minus(rivals[rival]), level)


def _doubt(draft: str, rival: str, difference: Estimate, level: float) -> Doubt:
    moves = difference.moves.get("blocks")
    if moves is None:
        return Doubt(draft, rival)
    return Doubt(draft, rival, len(moves), _blocks_needed(difference.value, moves, level))


def _blocks_needed(value: float, moves: Floats, level: float) -> int | None:
    """Return how many blocks of the same spread tell a difference from 0; None if too many."""
    from scipy import stats

    numbers = np.arange(max(len(moves), 2), MOST_BLOCKS + 1)
    error = float(np.std(moves, ddof=1)) if len(moves) > 1 else math.inf
    half = stats.t.ppf(0.5 + level / 2, numbers - 1) * error / np.sqrt(numbers)
    enough = numbers[half < abs(value)]
    return int(enough[0]) if len(enough) else None


def measured_estimate(ratios: Sequence[float]) -> Estimate:
    """Return the estimate of a speed run from the time ratio of each block of prompts.

    The value is the median, as in the table of speeds. A median of normal noise has sqrt(pi / 2)
    times the standard error of a mean.
    """
    logs = np.log(np.asarray(ratios, dtype=np.float64))
    return Estimate(float(np.median(logs)), {"blocks": _MEDIAN_NOISE * (logs - logs.mean())})


def supposed_estimate(seeds: Seeds, costs: Costs) -> Estimate:
    """Return the estimate at supposed costs."""
    return _of_ratios([block_times(counts, costs) for counts in seeds], "seeds")


def expected_estimate(
    counts: BlockSums,
    passes: Sequence[TimedPass],
    batch_size: int,
    gamma: int,
    draft: str,
    prompts: Sequence[str] = (),
) -> Estimate | None:
    """Return the estimate at measured costs, prefill included; None for fewer than two repeats.

    `counts` cover all scored prompts, whose names are `prompts` if some are turns of a
    conversation. The repeats timed this `draft`, so their noise is not shared with other drafts.
    """
    times = [block_times(counts, costs) for costs in timed_costs(passes, batch_size, gamma)]
    if len(times) < 2:
        return None
    if prompts:
        times = [(top, bottom) for top, bottom in (conversation_sums(prompts, *t) for t in times)]
    return _of_ratios(times, f"repeats of {draft}")


def _of_ratios(times: Sequence[Counts], source: str) -> Estimate:
    """Return the geometric mean of speedups, each a ratio of sums over the same prompts."""
    logs = np.array([math.log(float(top.sum() / bottom.sum())) for top, bottom in times])
    repeated = {source: logs - logs.mean()} if len(times) > 1 else {}
    without_B = np.mean([np.log(rates_without_each(counts)) for counts in times], axis=0)
    moves_B = (len(without_B) - 1) * (logs.mean() - without_B)
    effective = {"prompts": effective_number(*times)}
    return Estimate(float(logs.mean()), {"prompts": moves_B} | repeated, effective)


def timed_batch_sizes(passes: Sequence[TimedPass], arm: Arm = "draft") -> list[int]:
    """Return the batch sizes at which an arm was timed."""
    return sorted({item.batch_size for item in passes if item.who == arm})


def with_drafting_in_turn(passes: Sequence[TimedPass]) -> list[TimedPass]:
    """Return passes plus scaled draft passes for batch sizes at which only the target was timed.

    A batch of n costs at most n drafts at batch size 1: an upper bound on the draft's time.
    """
    missing = set(timed_batch_sizes(passes, "target")) - set(timed_batch_sizes(passes))
    alone = [item for item in passes if item.who == "draft" and item.batch_size == 1]
    return [
        *passes,
        *(
            replace(item, batch_size=size, seconds=size * item.seconds)
            for size in sorted(missing)
            for item in alone
        ),
    ]


def longest_timed_block(passes: Sequence[TimedPass]) -> int:
    """Return the longest block whose verification by the target was timed; 0 for none."""
    widths = (item.width for item in passes if item.who == "target" and item.context)
    return max(widths, default=1) - 1


def _ahead(one: Estimate, other: Estimate, level: float) -> bool:
    # An interval starts at or below its value, so a lower value needs no interval.
    return one.value > other.value and one.minus(other).ends(level)[0] > _EQUAL


def _highest(candidates: Mapping[int, Estimate]) -> int:
    """Return the block length with the highest estimate; the shortest of equal ones."""
    best = max(item.value for item in candidates.values())
    return min(gamma for gamma, item in candidates.items() if item.value >= best - _EQUAL)
