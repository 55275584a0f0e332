"""Block counts of every draft at every block length, from the acceptance tables beside results."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from draftmark.analysis.cost_model import ByGamma, Costs
from draftmark.analysis.quantities import drafts_of, quantity_key
from draftmark.analysis.recommendation import Advice, recommend, supposed_estimate
from draftmark.analysis.stored_counts import stored_tables
from draftmark.reports._shared.rows import (
    by_contender,
    draft_title,
    gamma_of,
    numbers_of,
    temperatures_of,
    way_in_words,
)
from draftmark.results import Contender, Number, Results
from draftmark.speculation.blocks import block_counts
from draftmark.types import AcceptanceTable, Verification


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
            seeds = [drafts_of(stored_tables(row, directory, temperature)) for row in rows]
            ways = [draft for draft in seeds[0] if all(_is_another(seed, draft) for seed in seeds)]
            for draft in ways:
                key = quantity_key("acceptance_rate", temperature, gamma_of(results), draft=draft)
                by_gamma = _by_gamma([seed[draft] for seed in seeds], results.verification)
                how = way_in_words(draft, ways)
                yield ScoredDraft(contender, temperature, by_gamma, numbers.get(key), how)


def _is_another(seed: Mapping[str | None, Sequence[AcceptanceTable]], draft: str | None) -> bool:
    """True if a seed has tables of this way of drafting that differ from those of the recipe's."""
    if draft is None or draft not in seed:
        return draft is None
    pairs = zip(seed[None], seed[draft], strict=True)
    return not all(np.array_equal(one.accept_SD, other.accept_SD) for one, other in pairs)


def _by_gamma(seeds: Sequence[Sequence[AcceptanceTable]], verification: Verification) -> ByGamma:
    longest = min(item.accept_SD.shape[1] for tables in seeds for item in tables)
    return {
        gamma: [block_counts(tables, gamma, verification=verification) for tables in seeds]
        for gamma in range(1, longest + 1)
    }
