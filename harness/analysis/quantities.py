"""Records -> quantities: a numerator and a denominator for each prompt.

The number of a cell pools a quantity over prompts, the number of a contender averages its seeds,
and a comparison pairs two quantities on their prompts. A key includes the temperature and block
length if the quantity depends on them: "block_efficiency[t=0,gamma=4]". A draft that was sampled
has every quantity a second time with the term "draft=greedy": the same draft, when it drafts its
most likely token, as vLLM does by default. It has every quantity of blocks once more with the term
"verification=block": the target accepts its blocks jointly. Elsewhere, at temperature 0 and for a
greedy draft, both rules of verification accept the same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from draftmark.analysis.cell_counts import (
    CellCounts,
    Positions,
    TableCounts,
    TokenSums,
    drafts_of,
)
from draftmark.analysis.intervals import Bounds
from draftmark.analysis.statistics import SHARE, Counts
from draftmark.config.recipe import Recipe
from draftmark.speculation.blocks import BlockSums
from draftmark.store.acceptance_tables import Floats
from draftmark.store.cell_records import Records
from draftmark.types import AcceptanceTable, Verification

GAMMAS = range(1, 17)
DEFINITIONS = {
    "acceptance_rate": "accepted / tested drafted tokens; a token is tested if all drafted "
    "before it in its block were accepted",
    "draft_acceptance_rate": "accepted / drafted tokens; a block drafts gamma tokens wherever it "
    "starts, or as many as the draft proposes, unless the length limit cuts it",
    "block_efficiency": "tokens emitted per pass of the target, prefill aside; the token that the "
    "target itself adds to a block is among them",
    "accepted_per_pass": "drafted tokens accepted per pass of the target, without the one it adds",
    "marginal_acceptance": "blocks that accept this position / blocks that drafted anything, as "
    "vLLM counts it",
    "conditional_acceptance": "blocks that accept this position / blocks that test it",
    "expected_acceptance_rate": "mean over tokens of sum min(p, q); top-1 agreement at "
    "temperature 0",
    "top1_agreement": "share of tokens where draft and target have the same first choice",
}
# Numerator and denominator of each rate, as fields of the block counts.
RATES = {
    "acceptance_rate": ("accepted", "tested"),
    "draft_acceptance_rate": ("accepted", "drafted"),
    "block_efficiency": ("tokens", "passes"),
    "accepted_per_pass": ("accepted", "passes"),
}
# Means over prompts of each prompt's own ratio: long answers do not weigh more.
PER_PROMPT = ("acceptance_rate", "block_efficiency", "accepted_per_pass")
BLOCK_TERM = ",verification=block"  # ends the terms of a quantity under block verification


@dataclass(frozen=True)
class Quantity:
    """A numerator and a denominator for each prompt [B], in the order of `prompts`.

    `bounds` are the least and highest possible ratio, None if there are none.
    """

    counts: Counts
    definition: str
    prompts: tuple[str, ...]
    bounds: Bounds | None = None

    @property
    def is_share(self) -> bool:
        """True if each prompt's value is 0 or 1, the least or the highest possible one."""
        top_B, bottom_B = self.counts
        flags = bool(np.all(bottom_B == 1) and np.isin(top_B, (0, 1)).all())
        return flags and self.bounds in (None, SHARE)


def rate_bounds(name: str, gamma: int) -> Bounds:
    """Return the least and highest possible rate in blocks of `gamma` drafted tokens."""
    if name.startswith(("block_efficiency", "mean_acceptance_length")):
        return 1.0, gamma + 1.0
    return (0.0, float(gamma)) if name.startswith("accepted_per_pass") else SHARE


def require_same_prompts(*items: Quantity) -> None:
    """Raise ValueError if quantities were measured on different prompts."""
    if len({item.prompts for item in items}) > 1:
        raise ValueError("not paired: measured on different prompts")


def quantity_key(
    name: str,
    temperature: float,
    gamma: int | None = None,
    position: int | None = None,
    draft: str | None = None,
    verification: Verification = "standard",
) -> str:
    """Return the key of a quantity: "marginal_acceptance[t=0,gamma=4,position=1]".

    `draft` is "greedy" for a sampled draft that drafts its most likely token instead.
    """
    terms = {"t": f"{temperature:g}", "gamma": gamma, "position": position, "draft": draft}
    terms["verification"] = None if verification == "standard" else verification
    return f"{name}[{','.join(f'{term}={value}' for term, value in terms.items() if value)}]"


def acceptance_quantities(records: Records, recipe: Recipe) -> dict[str, Quantity]:
    """Return every quantity of acceptance whose denominator is not 0."""
    counted = {t: TableCounts(tables) for t, tables in records.tables.items()}
    return counted_quantities(counted, recipe, GAMMAS)


def counted_quantities(
    counted: Mapping[float, CellCounts], recipe: Recipe, gammas: Iterable[int]
) -> dict[str, Quantity]:
    """Return the quantities of acceptance of a cell's counts, by temperature.

    Blocks are of the lengths `gammas`, and of the recipe's. None has a denominator of 0.
    """
    shown = recipe.evaluation.num_speculative_tokens
    found: dict[str, Quantity] = {}
    for temperature, counts in counted.items():
        for at in _all_terms(temperature, counts):
            for gamma, rates in _rates(counts, at, shown, gammas):
                for name, (top_B, bottom_B, definition) in rates.items():
                    bounds = rate_bounds(name, gamma)
                    found[name] = Quantity((top_B, bottom_B), definition, counts.prompts, bounds)
    return {name: item for name, item in found.items() if item.counts[1].sum() > 0}


def _rates(
    counts: CellCounts, at: "Terms", shown: int, gammas: Iterable[int]
) -> Iterator[tuple[int, "_Counted"]]:
    """Yield each block length with its rates; the rates of tokens come first, with 0."""
    if at.verification == "standard":
        yield 0, _token_rates(counts.token_sums(at.draft), at)
    for gamma in sorted({*gammas, shown}):
        blocks = counts.blocks(gamma, at.draft, at.verification)
        found = _block_rates(blocks, at, gamma)
        if gamma == shown:
            found |= _rates_per_prompt(blocks, at, gamma)
            places = counts.positions(gamma, at.draft, at.verification)
            found |= _rates_by_position(places, at, gamma) if places else {}
        yield gamma, found


def terms_of(
    temperature: float, tables: Sequence[AcceptanceTable]
) -> Iterator[tuple["Terms", Sequence[AcceptanceTable]]]:
    """Yield the terms of every draft and rule at a temperature, with the draft's tables."""
    by_draft = drafts_of(tables)
    for at in _all_terms(temperature, TableCounts(tables)):
        yield at, by_draft[at.draft]


def _all_terms(temperature: float, counts: CellCounts) -> Iterator["Terms"]:
    """Yield the terms of every draft and rule at a temperature."""
    for draft in counts.drafts:
        yield Terms(temperature, draft)
    if temperature and "block" in counts.verifications:
        yield Terms(temperature, None, "block")


class Terms(NamedTuple):
    """The terms that the keys of a table's quantities share."""

    temperature: float
    draft: str | None
    verification: Verification = "standard"

    def key(self, name: str, gamma: int | None = None, position: int | None = None) -> str:
        """Return the key of a quantity under these terms."""
        return quantity_key(name, self.temperature, gamma, position, self.draft, self.verification)


_Counted = dict[str, tuple[Floats, Floats, str]]  # numerators [B], denominators [B], definition


def _token_rates(sums: TokenSums, at: Terms) -> _Counted:
    tops = {"expected_acceptance_rate": sums.overlap_B, "top1_agreement": sums.greedy_match_B}
    return {at.key(name): (top_B, sums.tokens_B, DEFINITIONS[name]) for name, top_B in tops.items()}


def _block_rates(counts: BlockSums, at: Terms, gamma: int) -> _Counted:
    return {
        at.key(name, gamma): (
            getattr(counts, f"{top}_B"),
            getattr(counts, f"{bottom}_B"),
            DEFINITIONS[name],
        )
        for name, (top, bottom) in RATES.items()
    }


def _rates_per_prompt(counts: BlockSums, at: Terms, gamma: int) -> _Counted:
    found: _Counted = {}
    for name in PER_PROMPT:
        top_B, bottom_B = (getattr(counts, f"{field}_B") for field in RATES[name])
        ratio_B = np.divide(top_B, bottom_B, out=np.zeros_like(top_B), where=bottom_B > 0)
        definition = f"mean over prompts of each one's own: {DEFINITIONS[name]}"
        counted_B = (bottom_B > 0).astype(np.float64)
        found[at.key(f"{name}_per_prompt", gamma)] = ratio_B, counted_B, definition
    return found


def _rates_by_position(counts: Positions, at: Terms, gamma: int) -> _Counted:
    found: _Counted = {}
    for index in range(gamma):
        # Blocks that drafted anything are those that test the first position.
        bottoms = {"marginal": counts.tested_BG[:, 0], "conditional": counts.tested_BG[:, index]}
        for kind, bottom_B in bottoms.items():
            name = f"{kind}_acceptance"
            key = at.key(name, gamma, index + 1)
            found[key] = counts.reached_BG[:, index], bottom_B, DEFINITIONS[name]
    return found
