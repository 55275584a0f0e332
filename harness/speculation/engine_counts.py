"""What an engine counted of its decodes, in the form that scoring predicts it in.

An engine that verifies whole blocks may accept tokens beyond the end of a text: it counts them and
the text does not hold them, so they are set apart, and the rest is exactly what can be predicted.

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
    """Counts of each prompt as an engine has them; `beyond_B` of the accepted are past the end."""

    passes_B: Floats
    drafted_B: Floats
    accepted_B: Floats
    beyond_B: Floats

    @property
    def within_B(self) -> Floats:
        """Accepted tokens that the texts hold: what scoring predicts."""
        return self.accepted_B - self.beyond_B


def engine_counts(decodes: Sequence[Decode], convention: Convention) -> EngineCounts:
    """Return an engine's counts; raises ValueError on no decodes."""
    if not decodes:
        raise ValueError("no decodes: nothing to count")
    return EngineCounts(
        passes_B=np.array([float(decode.target_passes) for decode in decodes]),
        drafted_B=np.array([float(sum(r.drafted for r in d.rounds)) for d in decodes]),
        accepted_B=np.array([float(sum(r.accepted for r in d.rounds)) for d in decodes]),
        beyond_B=np.array([float(_beyond(decode, convention)) for decode in decodes]),
    )


def convention_of(running: Running) -> Convention:
    """Return how an engine counts: as it tells of itself, else as the reference engine does."""
    return told_convention(running.describe() if isinstance(running, Described) else {})


def told_convention(told: Mapping[str, Any]) -> Convention:
    """Return how an engine counts, of what it told of itself in a measurement."""
    return Convention(**told.get("convention", {}))


def _beyond(decode: Decode, convention: Convention) -> int:
    """Return how many accepted tokens of the last block the text does not hold."""
    if not convention.counts_beyond_end:
        return 0
    emitted = int(convention.prefill_emits_first) + sum(r.accepted + 1 for r in decode.rounds)
    return max(0, emitted - len(decode.token_ids) - 1)  # the last of them is the target's own
