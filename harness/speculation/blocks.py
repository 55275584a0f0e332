"""Block statistics, computed exactly from acceptance probabilities.

Given the target's own text y, let P(s) be the probability that a block starts at s. From s, with d
drafted tokens, j are accepted and the next is replaced with probability
accept[s,0] ... accept[s,j-1] (1 - accept[s,j]), which moves the start to s+j+1; all are accepted
with probability accept[s,0] ... accept[s,d-1], and the bonus token moves the start to s+d+1. The
expected number of target passes given y is the sum of P(s). This needs no draft decoding, and one
table serves every gamma.

A `Convention` fixes where engines count differently: whether prefill emits the first token, and
whether a block at the end of y counts all drafted tokens or those within y.

Legend: B prompt, S start of a block, D depth in a block, G position (position 1 is index 0).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from draftmark.store.acceptance_tables import Floats, Ints
from draftmark.types import AcceptanceTable


@dataclass(frozen=True)
class Convention:
    """The counting convention of an engine; defaults are the reference engine's."""

    prefill_emits_first: bool = False  # the first block then starts at the second token
    counts_beyond_end: bool = False  # the last block counts gamma drafted tokens


REFERENCE = Convention()


@dataclass(frozen=True)
class BlockCounts:
    """Expected counts of each prompt, to be pooled and then divided."""

    tokens_B: Floats  # of the text, with its end token, without a token that prefill emitted
    passes_B: Floats  # of the target, after prefill
    drafted_B: Floats
    tested_BG: Floats  # blocks whose token at position g was compared with the target's choice
    reached_BG: Floats  # blocks whose first g tokens were all accepted; g = 1 ... gamma

    @property
    def drafts_B(self) -> Floats:
        """Blocks that drafted a token, which vLLM counts as drafts."""
        drafts_B: Floats = self.tested_BG[:, 0]
        return drafts_B

    @property
    def tested_B(self) -> Floats:
        """Tokens compared with the target's choice: up to the first rejection, included."""
        tested_B: Floats = self.tested_BG.sum(-1)
        return tested_B

    @property
    def accepted_B(self) -> Floats:
        """Accepted tokens."""
        accepted_B: Floats = self.reached_BG.sum(-1)
        return accepted_B


def block_counts(
    tables: Sequence[AcceptanceTable],
    num_speculative_tokens: int,
    convention: Convention = REFERENCE,
) -> BlockCounts:
    """Return the expected counts of blocks of `num_speculative_tokens` over each table's text.

    Raises ValueError without tables, and for a table that has fewer depths than the block.
    """
    if not tables:
        raise ValueError("no acceptance tables: nothing to count")
    depth = num_speculative_tokens
    reach_BSD, drafted_BS, lengths_B = _stack(tables, depth)
    first = int(convention.prefill_emits_first)
    starts_BS = _starts(reach_BSD, lengths_B, first)
    tested_BSD = np.concatenate([np.ones_like(reach_BSD[..., :1]), reach_BSD[..., :-1]], axis=-1)
    tested_BSD = tested_BSD * (np.arange(depth) < drafted_BS[..., None])
    return BlockCounts(
        tokens_B=(lengths_B - first).astype(np.float64),
        passes_B=starts_BS.sum(-1),
        drafted_B=(starts_BS * _drafted(drafted_BS, lengths_B, convention, depth)).sum(-1),
        tested_BG=np.einsum("bs,bsd->bd", starts_BS, tested_BSD),
        reached_BG=np.einsum("bs,bsd->bd", starts_BS, reach_BSD),
    )


def _stack(tables: Sequence[AcceptanceTable], depth: int) -> tuple[Floats, Ints, Ints]:
    """Return (reach [B, S, D], drafted [B, S], lengths [B]), padded with zeros.

    reach[b, s, j] is the probability that a block starting at s has its tokens 0..j accepted.
    """
    lengths_B = np.array([len(table.drafted_S) for table in tables], dtype=np.int64)
    longest = int(lengths_B.max())
    reach_BSD = np.zeros((len(tables), longest, depth))
    drafted_BS = np.zeros((len(tables), longest), dtype=np.int64)
    for index, table in enumerate(tables):
        accept_SD = table.accept_SD[:, :depth]
        if (width := accept_SD.shape[1]) < depth:
            raise ValueError(f"the table of {table.example_id} has {width} depths, not {depth}")
        drafted_S = np.minimum(table.drafted_S, depth)
        inside_SD = np.arange(depth) < drafted_S[:, None]
        reach_BSD[index, : len(drafted_S)] = np.cumprod(np.where(inside_SD, accept_SD, 0.0), axis=1)
        drafted_BS[index, : len(drafted_S)] = drafted_S
    return reach_BSD, drafted_BS, lengths_B


def _drafted(drafted_BS: Ints, lengths_B: Ints, convention: Convention, depth: int) -> Ints:
    """Return the number of tokens [B, S] that a block counts as drafted, by its start."""
    if not convention.counts_beyond_end:
        return drafted_BS
    left_BS = lengths_B[:, None] - np.arange(drafted_BS.shape[1])
    cut_short_BS = (drafted_BS == left_BS) & (left_BS > 0)
    return np.where(cut_short_BS, depth, drafted_BS)


def _starts(reach_BSD: Floats, lengths_B: Ints, first: int) -> Floats:
    """Return P(s) [B, S], the probability that a block starts at s; the first starts at `first`."""
    num_prompts, longest, depth = reach_BSD.shape
    # Blocks that reach the end move their start past it, into extra columns that are cut off.
    starts_BS = np.zeros((num_prompts, longest + depth + 1))
    starts_BS[:, first] = 1.0
    for start in range(longest):
        here_B = starts_BS[:, start] * (start < lengths_B)
        starts_BS[:, start] = here_B
        moves_BD = _moves(reach_BSD[:, start])
        starts_BS[:, start + 1 : start + depth + 2] += here_B[:, None] * moves_BD
    return starts_BS[:, :longest]


def _moves(reach_BD: Floats) -> Floats:
    """Return the distribution [B, D + 1] of the number of accepted tokens of a block."""
    before_BD = np.concatenate([np.ones_like(reach_BD[:, :1]), reach_BD], axis=1)
    after_BD = np.concatenate([reach_BD, np.zeros_like(reach_BD[:, :1])], axis=1)
    # reach is zero beyond the drafted tokens, so P(all accepted) falls on depth d.
    probs_BD: Floats = before_BD - after_BD
    return probs_BD
