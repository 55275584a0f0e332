"""Block counts of every draft at every block length, from the acceptance tables beside results."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from draftmark.analysis.cell_counts import CellCounts, conversation_blocks
from draftmark.analysis.cost_model import ByGamma, Costs
from draftmark.analysis.quantities import quantity_key
from draftmark.analysis.recommendation import Advice, recommend, supposed_estimate
from draftmark.analysis.stored_counts import stored_cell
from draftmark.reports._shared.rows import (
    by_contender,
    draft_title,
    gamma_of,
    numbers_of,
    temperatures_of,
    way_in_words,
)
from draftmark.results import Contender, Number, Results
from draftmark.types import Verification


@dataclass(frozen=True)
class ScoredDraft:
    """A contender at a temperature, with the block counts of each seed at every block length."""

    contender: Contender
    temperature: float
    by_gamma: ByGamma
    acceptance: Number | None  # acceptance rate in the results; None if nothing was drafted
    how: str = ""  # the way of drafting in words, where there are two

    @property
    def title(self) -> str:
        """The name of the draft."""
        return draft_title(self.contender, self.temperature) + self.how

    @property
    def units(self) -> str:
        """The units of the draft's intervals: "64 prompts and 3 seeds"."""
        seeds = self.by_gamma[1]
        prompts = f"{len(seeds[0].tokens_B)} prompts"
        return f"{prompts} and {len(seeds)} seeds" if len(seeds) > 1 else prompts


def advice_at(draft: ScoredDraft, costs: Costs) -> Advice:
    """Return the recommended block length at supposed costs of a drafted token."""
    return recommend(
        {gamma: supposed_estimate(seeds, costs) for gamma, seeds in draft.by_gamma.items()}
    )


def scored_drafts(results: Results, directory: Path) -> Iterator[ScoredDraft]:
    """Yield every contender at every temperature, by each way of drafting, with its good seeds."""
    if results.server is not None:
        return  # a server counts blocks of one length; no table has the others
    done = (result for result in results.results if not result.failure)
    for contender, rows in by_contender(done):
        numbers = numbers_of(rows, results) or {}
        for temperature in temperatures_of(results):
            seeds = [stored_cell(row, directory, temperature) for row in rows]
            gamma = gamma_of(results)
            ways = [
                draft
                for draft in seeds[0].drafts
                if draft is None or all(_is_another(seed, draft, gamma) for seed in seeds)
            ]
            for draft in ways:
                key = quantity_key("acceptance_rate", temperature, gamma, draft=draft)
                by_gamma = _by_gamma(seeds, draft, results.verification)
                how = way_in_words(draft, ways)
                yield ScoredDraft(contender, temperature, by_gamma, numbers.get(key), how)


def _is_another(counts: CellCounts, draft: str | None, gamma: int) -> bool:
    """True if a seed has counts of this way of drafting that differ from the recipe's."""
    if draft not in counts.drafts:
        return False
    own, as_planned = counts.blocks(gamma, draft), counts.blocks(gamma)
    return not np.array_equal(own.accepted_B, as_planned.accepted_B)


def _by_gamma(
    seeds: Sequence[CellCounts], draft: str | None, verification: Verification
) -> ByGamma:
    longest = min(seed.longest for seed in seeds)
    return {
        gamma: [conversation_blocks(seed, gamma, draft, verification) for seed in seeds]
        for gamma in range(1, longest + 1)
    }
