"""Why a draft makes things slower, from the measured terms of the cost model.

A pass that drafts d tokens gives tau, so a drafted token saves (tau - 1) / d plain passes of the
target, at most 1, and costs c + w. Where it costs more than it saves, no engine can win with it;
where it costs less and the clock still says slower, the engine has taken the rest.
"""

from dataclasses import dataclass

DEAR = 0.5  # plain passes: above it more than half of all drafted tokens must be accepted


@dataclass(frozen=True)
class Terms:
    """The terms of a measurement: what it counted, what parts cost, and what came of it."""

    tokens_per_pass: float  # tau
    drafted_per_pass: float
    cost_ratio: float
    verification_cost: float
    batch_size: int
    overhead: float  # predicted / measured speedup

    @property
    def cost(self) -> float:
        """Plain passes that a drafted token costs."""
        return self.cost_ratio + max(self.verification_cost, 0.0)

    @property
    def saving(self) -> float:
        """Plain passes that a drafted token saves."""
        return (self.tokens_per_pass - 1) / self.drafted_per_pass


def why_slower(terms: Terms) -> str:
    """Return which term takes the speedup, with the numbers that say so."""
    if terms.drafted_per_pass == 0:
        return "nothing is drafted, so nothing can be won"
    saves = f"a drafted token saves {terms.saving:.2f} of a plain pass and costs {terms.cost:.2f}"
    parts = f"c = {terms.cost_ratio:.2f}, w = {terms.verification_cost:.2f}"
    if terms.cost < terms.saving:
        took = f"it takes {terms.overhead:.2f} times what the parts take"
        return f"engine overhead: {saves} ({parts}), but with a draft {took}"
    if terms.cost < DEAR:
        return f"acceptance too low: {saves} ({parts})"
    if terms.cost_ratio >= terms.verification_cost:
        return f"cost ratio too high: {saves} ({parts})"
    what = "batch too large" if terms.batch_size > 1 else "verification too dear"
    return f"{what}: {saves} ({parts})"
