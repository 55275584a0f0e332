"""Acceptance tables: how a law that does not depend on the block's start fills one."""

from typing import Any

import numpy as np

from harness.types import AcceptanceTable

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


def sliding_table(
    example_id: str, accept_S: Floats, overlap_S: Floats, greedy_match_S: Floats, depth: int
) -> AcceptanceTable:
    """Return the table of a draft whose law does not depend on where the block started.

    accept[s, j] is then accept_S[s + j]; a block drafts up to the end of the text.
    """
    length = len(accept_S)
    padded = np.concatenate([accept_S, np.zeros(depth)])
    accept_SD = np.lib.stride_tricks.sliding_window_view(padded, depth)[:length]
    return AcceptanceTable(
        example_id=example_id,
        accept_SD=accept_SD,
        drafted_S=np.minimum(depth, length - np.arange(length)),
        overlap_S=overlap_S,
        greedy_match_S=greedy_match_S,
    )
