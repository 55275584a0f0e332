"""Results as they are under block verification, for every report that shows results.

A run stores the numbers of both rules of verification. `results_under` puts those of block
verification in the place of the standard ones; whatever reads acceptance tables then counts blocks
by `Results.verification`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from draftmark.analysis.categories import NAMES
from draftmark.analysis.quantities import BLOCK_TERM, PER_PROMPT, RATES
from draftmark.analysis.stored_runs import RunSummary, StoredRuns, summarise_run
from draftmark.errors import UserError
from draftmark.results import Number, Results
from draftmark.types import Verification

_OF_BLOCKS = {
    *RATES,
    *NAMES,
    *(f"{name}_per_prompt" for name in PER_PROMPT),
    *("marginal_acceptance", "conditional_acceptance"),
}


def results_under(results: Results, verification: Verification) -> Results:
    """Return a run's results under a rule of verification.

    Raises UserError if an old version made the run, which stored no numbers of block verification.
    """
    if verification == results.verification:
        return results
    sampled = any(map(_differs, (key for row in results.results for key in row.numbers)))
    if sampled and not any(BLOCK_TERM in key for row in results.results for key in row.numbers):
        raise UserError(
            f"{results.name} has no numbers of block verification, because an older draftmark "
            "made it; run the recipe again."
        )
    return replace(
        results,
        title=f"{results.title}, under block verification",
        results=tuple(replace(row, numbers=_under_block(row.numbers)) for row in results.results),
        pooled=tuple(replace(it, numbers=_under_block(it.numbers)) for it in results.pooled),
        comparisons=tuple(
            replace(item, quantity=item.quantity.replace(BLOCK_TERM, ""))
            for item in results.block_comparisons
        ),
        standings=tuple(
            replace(item, quantity=item.quantity.replace(BLOCK_TERM, ""))
            for item in results.block_standings
        ),
        verification=verification,
    )


class RunsUnder(StoredRuns):
    """Stored runs under a rule of verification; each is loaded when it is asked for."""

    def __init__(self, folders: Sequence[Path], verification: Verification) -> None:
        super().__init__(folders)
        self.verification = verification

    def load(self, folder: Path) -> Results:
        """Return a run's results under the rule."""
        return results_under(super().load(folder), self.verification)

    def summary(self, folder: Path) -> RunSummary:
        """Return a run's summary under the rule; stored summaries have the standard rule's."""
        if self.verification == "standard":
            return super().summary(folder)
        return summarise_run(self.load(folder))


def _under_block(numbers: Mapping[str, Number]) -> dict[str, Number]:
    """Return numbers by their standard keys; a rate that only the standard rule has is left out."""
    found = {}
    for key, number in numbers.items():
        if BLOCK_TERM not in key:
            under = numbers.get(f"{key.removesuffix(']')}{BLOCK_TERM}]")
            if under or not _differs(key):
                found[key] = under or number
    return found


def _differs(key: str) -> bool:
    """True if the number of a key may differ between the rules: blocks of a sampled draft."""
    name, _, terms = key.removesuffix("]").partition("[")
    parts = terms.split(",")
    return name in _OF_BLOCKS and "t=0" not in parts and "draft=greedy" not in parts
