"""The block counts of a cell at a temperature, whichever record they come from.

A run keeps acceptance tables, from which blocks of any length can be counted. What is published
keeps the counts alone (`analysis.published_counts`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from draftmark.speculation.blocks import BlockSums, block_counts
from draftmark.store.acceptance_tables import Floats, verifications_of, with_greedy_draft
from draftmark.types import AcceptanceTable, Verification, conversation_of

Draft = str | None  # "greedy" if the draft drafts its most likely token, None as the recipe says


class CellCounts(Protocol):
    """The counts of a cell at a temperature."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """The names of the prompts [B]."""

    @property
    def drafts(self) -> tuple[Draft, ...]:
        """The ways of drafting that were counted."""

    @property
    def verifications(self) -> tuple[Verification, ...]:
        """The rules of verification that were counted."""

    @property
    def longest(self) -> int:
        """The longest block that was counted, in drafted tokens."""

    def blocks(
        self, gamma: int, draft: Draft = None, verification: Verification = "standard"
    ) -> BlockSums:
        """Return the counts of blocks of `gamma` drafted tokens."""

    def positions(
        self, gamma: int, draft: Draft = None, verification: Verification = "standard"
    ) -> "Positions | None":
        """Return the counts by position in a block; None if they are not kept."""

    def token_sums(self, draft: Draft = None) -> "TokenSums":
        """Return the sums over tokens."""


class Positions(NamedTuple):
    """Blocks that test, and that accept up to, each position [B, G]."""

    tested_BG: Floats
    reached_BG: Floats


@dataclass(frozen=True)
class TokenSums:
    """Sums over the tokens of each prompt [B]: their number, overlaps, equal first choices."""

    tokens_B: Floats
    overlap_B: Floats
    greedy_match_B: Floats


@dataclass(frozen=True)
class TableCounts:
    """Counts from acceptance tables, rounded to a number of decimals unless that is None."""

    tables: Sequence[AcceptanceTable]
    decimals: int | None = None

    @property
    def prompts(self) -> tuple[str, ...]:
        """The names of the prompts [B]."""
        return tuple(table.example_id for table in self.tables)

    @cached_property
    def _by_draft(self) -> dict[Draft, Sequence[AcceptanceTable]]:
        return drafts_of(self.tables)

    @property
    def drafts(self) -> tuple[Draft, ...]:
        """The ways of drafting that the tables have."""
        return tuple(self._by_draft)

    @property
    def verifications(self) -> tuple[Verification, ...]:
        """The rules of verification that the tables have."""
        return verifications_of(self.tables)

    @property
    def longest(self) -> int:
        """The depth of the shallowest table."""
        return min(int(table.accept_SD.shape[1]) for table in self.tables)

    def blocks(
        self, gamma: int, draft: Draft = None, verification: Verification = "standard"
    ) -> BlockSums:
        """Return the counts of blocks of `gamma` drafted tokens."""
        sums = block_counts(self._by_draft[draft], gamma, verification=verification).sums
        return BlockSums(*map(self._rounded, vars(sums).values()))

    def positions(
        self, gamma: int, draft: Draft = None, verification: Verification = "standard"
    ) -> Positions:
        """Return the counts by position in a block."""
        counts = block_counts(self._by_draft[draft], gamma, verification=verification)
        return Positions(self._rounded(counts.tested_BG), self._rounded(counts.reached_BG))

    def _rounded(self, counts: Floats) -> Floats:
        return counts if self.decimals is None else counts.round(self.decimals)

    def token_sums(self, draft: Draft = None) -> TokenSums:
        """Return the sums over tokens."""
        tables = self._by_draft[draft]
        return TokenSums(
            np.array([float(len(table.overlap_S)) for table in tables]),
            self._rounded(np.array([table.overlap_S.sum() for table in tables])),
            self._rounded(np.array([table.greedy_match_S.sum() for table in tables])),
        )


def drafts_of(tables: Sequence[AcceptanceTable]) -> dict[Draft, Sequence[AcceptanceTable]]:
    """Return the tables as measured (None), and those of the greedy draft if all have them."""
    greedy = [own for table in tables if (own := with_greedy_draft(table))]
    return {None: tables, "greedy": greedy} if len(greedy) == len(tables) else {None: tables}


def conversation_blocks(
    counts: CellCounts, gamma: int, draft: Draft = None, verification: Verification = "standard"
) -> BlockSums:
    """Return the counts of blocks by conversation, the unit of intervals."""
    blocks = counts.blocks(gamma, draft, verification)
    return BlockSums(*conversation_sums(counts.prompts, *vars(blocks).values()))


def conversation_sums(prompts: Sequence[str], *values: Floats) -> tuple[Floats, ...]:
    """Return values [B] summed over the turns of each conversation, in the order of the first."""
    names = list(dict.fromkeys(map(conversation_of, prompts)))
    if len(names) == len(prompts):
        return values
    units = {name: place for place, name in enumerate(names)}
    unit_B = [units[conversation_of(name)] for name in prompts]
    return tuple(np.bincount(unit_B, weights=values_B).astype(np.float64) for values_B in values)
