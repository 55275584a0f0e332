"""The counts of a cell that a published file has, in place of its acceptance tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from draftmark.analysis.cell_counts import Draft, Positions, TokenSums
from draftmark.analysis.count_columns import COUNTED
from draftmark.errors import UserError
from draftmark.speculation.blocks import BlockSums
from draftmark.store.acceptance_tables import Floats
from draftmark.types import Verification


class At(NamedTuple):
    """What the counts of a cell at a temperature are of."""

    greedy: bool
    block: bool
    gamma: int
    position: int


@dataclass(frozen=True)
class KeptCounts:
    """The counts of a cell at a temperature that a published file has: `CellCounts`."""

    temperature: float
    prompts: tuple[str, ...]
    columns: Mapping[At, Mapping[str, Floats]]
    where: Path

    @cached_property
    def drafts(self) -> tuple[Draft, ...]:
        """The ways of drafting."""
        return (None, "greedy") if any(at.greedy for at in self.columns) else (None,)

    @cached_property
    def verifications(self) -> tuple[Verification, ...]:
        """The rules of verification."""
        known = not self.temperature or any(at.block for at in self.columns)
        return ("standard", "block") if known else ("standard",)

    @property
    def longest(self) -> int:
        """The longest block."""
        return max(at.gamma for at in self.columns)

    def blocks(
        self, gamma: int, draft: Draft = None, verification: Verification = "standard"
    ) -> BlockSums:
        """Return the counts of blocks; raises UserError if the file does not have them."""
        whole = self._of(self._at(gamma, draft, verification))
        return BlockSums(**{f"{name}_B": whole[name] for name in COUNTED})

    def positions(
        self, gamma: int, draft: Draft = None, verification: Verification = "standard"
    ) -> Positions | None:
        """Return the counts by position in a block; None for another length than the recipe's."""
        at = self._at(gamma, draft, verification)
        places = [at._replace(position=place) for place in range(1, gamma + 1)]
        if not all(each in self.columns for each in places):
            return None
        tested_BG, reached_BG = (
            np.stack([self.columns[each][name] for each in places], axis=1)
            for name in ("tested", "accepted")
        )
        return Positions(tested_BG, reached_BG)

    def _at(self, gamma: int, draft: Draft, verification: Verification) -> At:
        same = not self.temperature or draft is not None  # both rules accept the same
        return At(draft is not None, verification == "block" and not same, gamma, 0)

    def token_sums(self, draft: Draft = None) -> TokenSums:
        """Return the sums over tokens."""
        sums = self._of(At(draft is not None, False, 0, 0))
        return TokenSums(sums["tokens"], sums["accepted"], sums["tested"])

    def _of(self, at: At) -> Mapping[str, Floats]:
        if at not in self.columns:
            rule = " under block verification" if at.block else ""
            raise UserError(
                f"{self.where} has no counts of blocks of {at.gamma}{rule}; run the recipe again."
            )
        return self.columns[at]
