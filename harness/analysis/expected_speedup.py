"""What a draft would win: expected speedup, best block length, break-even. Nothing is run.

The unit of time is a plain target pass. Drafting a token costs c of it (the cost ratio), verifying
a drafted token costs w more (the verification cost: about 0 where decoding waits for memory, more
with large batches). A block that drafts d tokens then takes 1 + d (c + w), so over a text

    speedup = tokens / (passes + drafted (c + w))

which is Leviathan et al. 2023 (arXiv 2211.17192), theorem 3.8, if every token is accepted with the
same probability alpha and every block drafts gamma: (1 - alpha^(gamma+1)) / ((1 - alpha) (gamma c +
1)). The expected counts of blocks.py assume neither, so drafts that propose fewer tokens, and
texts whose hard passages cluster, are priced as they are. Of decoding only: prefill, sampling and
an engine's overheads are left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from draftmark.analysis import statistics
from draftmark.analysis.statistics import Counts
from draftmark.errors import UserError
from draftmark.results import Number
from draftmark.speculation.blocks import BlockCounts

Seeds = Sequence[BlockCounts]  # of each seed's draft, on the same prompts
ByGamma = Mapping[int, Seeds]  # block length -> counts

_SPEEDUP = "expected: tokens / (passes + drafted (c + w)), in plain target passes; prefill aside"
_BREAK_EVEN = (
    "(tokens - passes) / drafted: the cost c + w of a drafted token at which nothing is won"
)


@dataclass(frozen=True)
class Costs:
    """What a drafted token costs, in plain target passes; raises UserError below 0."""

    cost_ratio: float  # c: time of drafting a token
    verification_cost: float = 0.0  # w: time that a drafted token adds to the target's pass

    def __post_init__(self) -> None:
        """Refuse what is no time."""
        for name in ("cost_ratio", "verification_cost"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UserError(
                    f"A {name.replace('_', ' ')} of {value:g} is no time; name a number of plain "
                    "target passes, 0 or more."
                )

    @property
    def per_token(self) -> float:
        """Return c + w: only the sum decides."""
        return self.cost_ratio + self.verification_cost


FREE = Costs(0.0)


@dataclass(frozen=True)
class Choice:
    """A block length that was chosen for its number."""

    gamma: int
    number: Number


def expected_speedup(seeds: Seeds, costs: Costs) -> Number:
    """Return the expected speedup, pooled over prompts; at no costs it is the block efficiency."""
    return statistics.over_seeds(times_with(seeds, costs), _SPEEDUP)


def expected_speedups(by_gamma: ByGamma, costs: Costs) -> dict[int, float]:
    """Return the expected speedup at each block length, without intervals."""
    return {gamma: _value(times_with(seeds, costs)) for gamma, seeds in by_gamma.items()}


def speedup_of(tokens: float, drafted: float, costs: Costs) -> float:
    """Return the expected speedup of published rates: tokens and drafted tokens per pass."""
    return tokens / (1 + costs.per_token * drafted)


def break_even_of(tokens: float, drafted: float) -> float:
    """Return the c + w at which nothing is won, of the same rates."""
    return (tokens - 1) / drafted


def break_even_cost(seeds: Seeds) -> Number | None:
    """Return the c + w at which the speedup is 1; None for a draft that never drafts.

    As every pass but a text's last emits one token of its own, this is the share of drafted tokens
    that are accepted (`draft_acceptance_rate`), less the last blocks' missing bonus tokens.
    """
    return statistics.over_seeds(_wins(seeds), _BREAK_EVEN) if _drafts(seeds) else None


def highest_break_even_cost(by_gamma: ByGamma) -> Choice | None:
    """Return the block length that bears the highest cost: above it, no draft is better."""
    values = {gamma: _value(_wins(seeds)) for gamma, seeds in by_gamma.items() if _drafts(seeds)}
    if not values:
        return None
    gamma = _highest(values)
    return Choice(gamma, statistics.over_seeds(_wins(by_gamma[gamma]), _BREAK_EVEN))


def break_even_acceptance(gamma: int, costs: Costs) -> float | None:
    """Return the smallest acceptance at which blocks of `gamma` pay; None if not even 1 does.

    For tokens accepted independently, all with the same probability a: theorem 3.8's speedup is 1
    where the mean of a, a^2 ... a^gamma is c + w. It is smallest at gamma 1, so that no block
    length pays below a = c + w (corollary 3.9).
    """
    from scipy import optimize

    def won_per_drafted(a: float) -> float:
        return math.fsum(a**k for k in range(1, gamma + 1)) / gamma - costs.per_token

    if costs.per_token > 1:
        return None
    return float(optimize.brentq(won_per_drafted, 0.0, 1.0))


def times_with(seeds: Seeds, costs: Costs) -> list[Counts]:
    """Return each seed's times of the target alone and with the draft, in plain passes."""
    return [(item.tokens_B, item.passes_B + costs.per_token * item.drafted_B) for item in seeds]


def _wins(seeds: Seeds) -> list[Counts]:
    """Return each seed's passes saved, and the drafted tokens that they have to pay for."""
    return [(item.tokens_B - item.passes_B, item.drafted_B) for item in seeds]


def _drafts(seeds: Seeds) -> bool:
    return all(item.drafted_B.sum() > 0 for item in seeds)


def _value(seeds: Sequence[Counts]) -> float:
    """Return the value that `statistics.over_seeds` gives: its time goes into the interval."""
    return math.fsum(float(top.sum() / bottom.sum()) for top, bottom in seeds) / len(seeds)


def _highest(values: Mapping[int, float]) -> int:
    """Return the block length of the highest value; of equal ones the shortest."""
    return max(values, key=lambda gamma: (values[gamma], -gamma))
