"""The cost model: the speedup computed from block counts and the costs of drafting and verifying.

The unit of time is a plain pass of the target over one token of each text. Drafting a token costs
c units (the cost ratio); verifying it costs w more (the verification cost: about 0 where decoding
is memory-bound, more with large batches). Over N prompts

    speedup = (N prefill + tokens) / (N (prefill + draft prefill) + passes + drafted (c + w))

Without prefill this is Leviathan et al. 2023 (arXiv 2211.17192), theorem 3.8, if every token is
accepted with the same probability alpha and every block drafts gamma: (1 - alpha^(gamma+1)) /
((1 - alpha) (gamma c + 1)). The counts of blocks.py assume neither. The model leaves out sampling
and engine overhead. A draft that answers a block in one pass spends the pass even if it then drafts
fewer tokens, so with such a draft of B tokens a block, passes B c replaces drafted c.

Legend: B prompt.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from draftmark.analysis import statistics
from draftmark.analysis.statistics import Counts
from draftmark.errors import UserError
from draftmark.results import Number
from draftmark.speculation.blocks import BlockSums
from draftmark.store.acceptance_tables import Floats

Seeds = Sequence[BlockSums]  # one for each seed's draft, on the same prompts
ByGamma = Mapping[int, Seeds]  # block length -> counts
T = TypeVar("T", float, Floats)  # a sum over prompts, or a value per prompt [B]

HIGH_COST = 0.5  # plain passes; above this more than half of all drafted tokens must be accepted
_SPEEDUP = "expected: tokens / (passes + drafted (c + w)), in plain target passes; prefill aside"
_BREAK_EVEN = (
    "(tokens - passes) / drafted: the cost c + w of a drafted token at which the speedup is 1"
)
_PREFILL = "decoding alone is faster, but the draft must also read the prompt: texts are too short"


@dataclass(frozen=True)
class Costs:
    """Costs in plain target passes; noise can make a measured verification cost negative."""

    cost_ratio: float  # c: drafting one token
    verification_cost: float = 0.0  # w: added to the target's pass by one drafted token
    prefill: float = 0.0  # reading a prompt with the target
    draft_prefill: float = 0.0  # reading a prompt with the draft
    block: int = 0  # B, of a draft that spends c B on every block; 0: c on every drafted token

    def drafting(self, passes: T, drafted: T) -> T:
        """Return the cost of drafting in as many passes as the target makes."""
        return self.cost_ratio * (self.block * passes if self.block else drafted)

    @property
    def per_token(self) -> float:
        """The cost of a drafted token, c + w; without `block` only this sum counts."""
        return self.cost_ratio + self.verification_cost


FREE = Costs(0.0)


def supposed_costs(cost_ratio: float, verification_cost: float = 0.0) -> Costs:
    """Return costs given by the user; raises UserError unless both are finite and 0 or more."""
    for name, value in (("cost ratio", cost_ratio), ("verification cost", verification_cost)):
        if not (math.isfinite(value) and value >= 0):
            raise UserError(
                f"A {name} of {value:g} is not possible; it must be a finite number of plain "
                "target passes, 0 or more."
            )
    return Costs(cost_ratio, verification_cost)


def both_times(costs: Costs, tokens: T, passes: T, drafted: T, prompts: float = 1) -> tuple[T, T]:
    """Return the times of the target alone and with the draft, in plain passes."""
    alone = prompts * costs.prefill + tokens
    prefill = prompts * (costs.prefill + costs.draft_prefill)
    if costs.block:
        added = costs.drafting(passes, drafted) + costs.verification_cost * drafted
    else:
        added = costs.per_token * drafted
    return alone, prefill + passes + added


def modelled_speedup(
    costs: Costs, tokens: float, passes: float, drafted: float, prompts: float = 1
) -> float:
    """Return the speedup from counts summed over prompts."""
    alone, with_draft = both_times(costs, tokens, passes, drafted, prompts)
    return alone / with_draft


def savings(tokens: T, passes: T, drafted: T) -> tuple[T, T]:
    """Return the passes that a draft saves, and the number of drafted tokens.

    Their ratio is the break-even cost: the c + w at which the speedup without prefill is 1.
    """
    alone, with_free_draft = both_times(FREE, tokens, passes, drafted)
    return alone - with_free_draft, drafted


def block_times(counts: BlockSums, costs: Costs) -> Counts:
    """Return the times [B] of the target alone and with the draft, in plain passes."""
    return both_times(costs, counts.tokens_B, counts.passes_B, counts.drafted_B)


def expected_speedup(seeds: Seeds, costs: Costs) -> Number:
    """Return the expected speedup, pooled over prompts; at zero cost it is the block efficiency."""
    times = [block_times(item, costs) for item in seeds]
    return statistics.over_seeds(times, _SPEEDUP, statistics.POSITIVE)


def expected_speedups(by_gamma: ByGamma, costs: Costs) -> dict[int, float]:
    """Return the expected speedup at each block length, without the slow intervals."""
    return {
        gamma: statistics.mean_ratio([block_times(item, costs) for item in seeds])
        for gamma, seeds in by_gamma.items()
    }


def break_even_cost(seeds: Seeds) -> Number | None:
    """Return the c + w at which the speedup is 1; None for a draft that never drafts.

    Every pass but a text's last adds one token of the target, so the cost is the
    `draft_acceptance_rate` minus the bonus tokens that last blocks lack.
    """
    if not _drafts(seeds):
        return None
    return statistics.over_seeds(_savings(seeds), _BREAK_EVEN, statistics.SHARE)


def highest_break_even_cost(by_gamma: ByGamma) -> tuple[int, Number] | None:
    """Return (block length, break-even cost) where the cost is highest, the shortest of equals.

    Above that cost the draft pays at no block length. None for a draft that never drafts.
    """
    found = {gamma: _savings(seeds) for gamma, seeds in by_gamma.items() if _drafts(seeds)}
    if not found:
        return None
    gamma = max(found, key=lambda length: (statistics.mean_ratio(found[length]), -length))
    return gamma, statistics.over_seeds(found[gamma], _BREAK_EVEN, statistics.SHARE)


def _savings(seeds: Seeds) -> list[Counts]:
    return [savings(item.tokens_B, item.passes_B, item.drafted_B) for item in seeds]


def _drafts(seeds: Seeds) -> bool:
    return all(item.drafted_B.sum() > 0 for item in seeds)


def break_even_acceptance(gamma: int, costs: Costs) -> float | None:
    """Return the smallest acceptance rate at which blocks of `gamma` pay; None if even 1 loses.

    Tokens are accepted independently with equal probability a. Theorem 3.8's speedup is 1 where the
    mean of a, a^2 ... a^gamma is c + w. The rate is smallest at gamma 1, so no block length pays
    below a = c + w (corollary 3.9).
    """
    from scipy import optimize

    def saved_per_drafted(a: float) -> float:
        return math.fsum(a**k for k in range(1, gamma + 1)) / gamma - costs.per_token

    if costs.per_token > 1:
        return None
    return float(optimize.brentq(saved_per_drafted, 0.0, 1.0))


def why_slower(
    tokens_per_pass: float,
    drafted_per_pass: float,
    costs: Costs,
    batch_size: int,
    overhead: float | None = None,
) -> str:
    """Return the reason in words why a draft is slower than the target alone, with numbers.

    If a drafted token costs more than it saves, no engine can win with the draft. Else the reason
    is the engine's `overhead` (predicted / measured speedup), or prefill if `overhead` is None.
    """
    if drafted_per_pass == 0:
        return "nothing is drafted, so nothing can be won"
    saved, drafted = savings(tokens_per_pass, 1.0, drafted_per_pass)
    saving, cost = saved / drafted, costs.cost_ratio + max(costs.verification_cost, 0.0)
    saves = f"a drafted token saves {saving:.2f} of a plain pass and costs {cost:.2f}"
    numbers = f"{saves} (c = {costs.cost_ratio:.2f}, w = {costs.verification_cost:.2f})"
    if cost < saving and overhead is None:
        return _PREFILL
    if cost < saving:
        took = f"it takes {overhead:.2f} times what the parts take"
        return f"engine overhead: {numbers}, but with a draft {took}"
    if cost < HIGH_COST:
        reason = "acceptance too low"
    elif costs.cost_ratio >= costs.verification_cost:
        reason = "cost ratio too high"
    else:
        reason = "batch too large" if batch_size > 1 else "verification too dear"
    return f"{reason}: {numbers}"
