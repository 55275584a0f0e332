"""The counts of an engine's decodes, in the form that scoring predicts.

An engine that verifies whole blocks may accept, and count, tokens beyond the end of a text. They
are separated here, because scoring predicts only the tokens within the text.

Legend: B prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from draftmark.speculation.blocks import Convention
from draftmark.speculation.interfaces import Described, Running
from draftmark.store.acceptance_tables import Floats
from draftmark.types import Decode


@dataclass(frozen=True)
class EngineCounts:
    """An engine's own counts of each prompt."""

    passes_B: Floats
    drafted_B: Floats
    tested_B: Floats  # drafted tokens within the texts, up to the first rejection, included
    accepted_B: Floats
    beyond_B: Floats  # accepted tokens past the end of the text

    @property
    def within_B(self) -> Floats:
        """Accepted tokens within the texts, as scoring predicts."""
        return self.accepted_B - self.beyond_B


def engine_counts(decodes: Sequence[Decode], convention: Convention) -> EngineCounts:
    """Return an engine's counts; raises ValueError without decodes."""
    if not decodes:
        raise ValueError("no decodes: nothing to count")
    return EngineCounts(
        passes_B=np.array([float(decode.target_passes) for decode in decodes]),
        drafted_B=np.array([float(sum(r.drafted for r in d.rounds)) for d in decodes]),
        tested_B=np.array([float(_tested(decode, convention)) for decode in decodes]),
        accepted_B=np.array([float(sum(r.accepted for r in d.rounds)) for d in decodes]),
        beyond_B=np.array([float(_beyond(decode, convention)) for decode in decodes]),
    )


def convention_of(running: Running) -> Convention:
    """Return the counting convention that an engine describes, else the reference engine's."""
    return described_convention(running.describe() if isinstance(running, Described) else {})


def described_convention(description: Mapping[str, Any]) -> Convention:
    """Return the counting convention in an engine's stored description."""
    return Convention(**description.get("convention", {}))


def _tested(decode: Decode, convention: Convention) -> int:
    """Return the number of tokens within the text that were compared with the target's choice."""
    tested, start = 0, int(convention.prefill_emits_first)
    for round_ in decode.rounds:
        left = len(decode.token_ids) - start
        tested += min(round_.drafted, round_.accepted + 1, left)
        start += round_.accepted + 1
    return tested


def _beyond(decode: Decode, convention: Convention) -> int:
    """Return the number of accepted tokens of the last block that the text lacks."""
    if not convention.counts_beyond_end:
        return 0
    emitted = int(convention.prefill_emits_first) + sum(r.accepted + 1 for r in decode.rounds)
    return max(0, emitted - len(decode.token_ids) - 1)  # the last emitted token is the target's
