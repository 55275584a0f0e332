"""Block statistics, computed exactly from acceptance probabilities.

Given the target's own text y, let P(s) be the probability that a block starts at s. From s, with d
drafted tokens, j are accepted and the next is replaced with probability
accept[s,0] ... accept[s,j-1] (1 - accept[s,j]), which moves the start to s+j+1; all are accepted
with probability accept[s,0] ... accept[s,d-1], and the bonus token moves the start to s+d+1. The
expected number of target passes given y is the sum of P(s). This needs no draft decoding, and one
table serves every gamma.

Block verification (`speculation.verification`) accepts the first i tokens of a block with
probability min(1, R_1, ..., R_i), where R_j is the product of the first j ratios q(y) / p(y), not
clipped at 1. It accepts a block at least as far as the standard rule, whose probability is the
product of the clipped ratios. Whichever rule, the token after the accepted ones is drawn so that
the text keeps the distribution p given what was accepted, so a start depends on the text before it
alone, and the sums above hold.

What is drafted: a block drafts gamma tokens wherever it starts, or as many as the draft proposes,
unless the length limit leaves room for fewer. No engine knows ahead where the end token (or a stop
string) will come, so tokens drafted beyond it were paid for. They count as drafted, never as tested
or accepted: y has no token there. A tree drafts all of its nodes.

A `Convention` fixes where engines count differently. The conventions of the engines are below.

Legend: B prompt, S start of a block, D depth in a block, G position (position 1 is index 0).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from draftmark.errors import UserError
from draftmark.store.acceptance_tables import Floats, Ints, all_or_nothing
from draftmark.types import AcceptanceTable, Verification


@dataclass(frozen=True)
class Convention:
    """The counting convention of an engine; defaults are the reference engine's.

    `counts_beyond_end`: a block drafts gamma tokens (or as many as the draft proposes) whatever the
    length limit, and the engine's own count of accepted tokens includes those beyond the end of a
    text (which no table predicts).
    """

    prefill_emits_first: bool = False  # the first block then starts at the second token
    counts_beyond_end: bool = False
    drafts_last: bool = True  # False: the last token that the limit allows is never drafted


REFERENCE = Convention()
# transformers 5.19, generation/candidate_generator.py. The first pass reads the prompt and verifies
# the first block. A draft model drafts up to the last token but one that the limit allows; a lookup
# drafts what it found, at most gamma tokens, or none where one token is left. A model also stops at
# an end token that it drafts itself, a lookup before one: tables do not record where, so fewer are
# drafted there than predicted.
TRANSFORMERS = Convention(drafts_last=False)
TRANSFORMERS_LOOKUP = Convention(drafts_last=False, counts_beyond_end=True)
# vLLM 0.32, v1/core/sched/scheduler.py, `update_from_output`: drafted are all scheduled tokens,
# limited by the context alone; accepted are the tokens of a pass less one, before a stop cuts them.
# A lookup (v1/spec_decode/ngram_proposer.py) drafts what it found, at most gamma tokens.
VLLM = Convention(prefill_emits_first=True, counts_beyond_end=True)


@dataclass(frozen=True)
class BlockSums:
    """Expected counts of each prompt, summed over the positions of a block."""

    tokens_B: Floats
    passes_B: Floats
    drafted_B: Floats
    tested_B: Floats
    accepted_B: Floats


@dataclass(frozen=True)
class BlockCounts:
    """Expected counts of each prompt, to be pooled and then divided."""

    tokens_B: Floats  # of the text, with its end token, without a token that prefill emitted
    passes_B: Floats  # of the target, after prefill
    drafted_B: Floats
    tested_BG: Floats  # blocks with a token at position g whose first g - 1 tokens were accepted
    reached_BG: Floats  # blocks whose first g tokens were all accepted; g = 1 ... gamma

    @property
    def drafts_B(self) -> Floats:
        """Blocks that drafted a token, which vLLM counts as drafts."""
        drafts_B: Floats = self.tested_BG[:, 0]
        return drafts_B

    @property
    def tested_B(self) -> Floats:
        """Drafted tokens within the texts up to the first one not accepted, included."""
        tested_B: Floats = self.tested_BG.sum(-1)
        return tested_B

    @property
    def accepted_B(self) -> Floats:
        """Accepted tokens."""
        accepted_B: Floats = self.reached_BG.sum(-1)
        return accepted_B

    @property
    def sums(self) -> BlockSums:
        """The counts without positions."""
        return BlockSums(
            self.tokens_B, self.passes_B, self.drafted_B, self.tested_B, self.accepted_B
        )


def block_counts(
    tables: Sequence[AcceptanceTable],
    num_speculative_tokens: int,
    convention: Convention = REFERENCE,
    verification: Verification = "standard",
) -> BlockCounts:
    """Return the expected counts of blocks of `num_speculative_tokens` over each table's text.

    Raises ValueError without tables, and for a table that has fewer depths than the block;
    UserError for block verification of a table without the ratios that it needs.
    """
    if not tables:
        raise ValueError("no acceptance tables: nothing to count")
    lengths_B = np.array([len(table.drafted_S) for table in tables], dtype=np.int64)
    reach_BSD, testable_BS, drafted_BS = _stack(
        tables, num_speculative_tokens, convention, verification
    )
    first = int(convention.prefill_emits_first)
    starts_BS = _starts(reach_BSD, lengths_B, first)
    tested_BSD = _tested(reach_BSD, testable_BS)
    return BlockCounts(
        tokens_B=(lengths_B - first).astype(np.float64),
        passes_B=starts_BS.sum(-1),
        drafted_B=(starts_BS * drafted_BS).sum(-1),
        tested_BG=np.einsum("bs,bsd->bd", starts_BS, tested_BSD),
        reached_BG=np.einsum("bs,bsd->bd", starts_BS, reach_BSD),
    )


@dataclass(frozen=True)
class StartCounts:
    """Expected counts of the blocks that start at each position, padded with zeros.

    Their sums over the positions are those of `BlockCounts`.
    """

    tokens_BS: Floats
    passes_BS: Floats
    tested_BS: Floats
    accepted_BS: Floats


def start_counts(
    tables: Sequence[AcceptanceTable],
    num_speculative_tokens: int,
    verification: Verification = "standard",
) -> StartCounts:
    """Return the expected counts by the start of a block, in the reference engine's convention.

    Raises ValueError and UserError as `block_counts` does.
    """
    if not tables:
        raise ValueError("no acceptance tables: nothing to count")
    lengths_B = np.array([len(table.drafted_S) for table in tables], dtype=np.int64)
    reach_BSD, testable_BS, _ = _stack(tables, num_speculative_tokens, REFERENCE, verification)
    starts_BS = _starts(reach_BSD, lengths_B, first=0)
    # A block that accepts all tokens up to the end of the text emits no token of the target.
    left_BS = lengths_B[:, None] - np.arange(reach_BSD.shape[1])
    within_BSD = np.arange(1, num_speculative_tokens + 1) < left_BS[..., None]
    return StartCounts(
        tokens_BS=starts_BS * (1 + (reach_BSD * within_BSD).sum(-1)),
        passes_BS=starts_BS,
        tested_BS=starts_BS * _tested(reach_BSD, testable_BS).sum(-1),
        accepted_BS=starts_BS * reach_BSD.sum(-1),
    )


def _tested(reach_BSD: Floats, testable_BS: Ints) -> Floats:
    """Return the probability [B, S, D] that a block tests each of its tokens."""
    before_BSD = np.concatenate([np.ones_like(reach_BSD[..., :1]), reach_BSD[..., :-1]], axis=-1)
    tested_BSD: Floats = before_BSD * (np.arange(reach_BSD.shape[2]) < testable_BS[..., None])
    return tested_BSD


def _stack(
    tables: Sequence[AcceptanceTable],
    depth: int,
    convention: Convention,
    verification: Verification,
) -> tuple[Floats, Ints, Ints]:
    """Return (reach [B, S, D], testable [B, S], drafted [B, S]), padded with zeros.

    reach[b, s, j] is the probability that a block starting at s has its tokens 0..j accepted;
    testable[b, s] of its tokens are within the text.
    """
    longest = max(len(table.drafted_S) for table in tables)
    reach_BSD = np.zeros((len(tables), longest, depth))
    testable_BS, drafted_BS = np.zeros((2, len(tables), longest), dtype=np.int64)
    for index, table in enumerate(tables):
        length, width = table.accept_SD.shape
        if width < depth:
            raise ValueError(f"the table of {table.example_id} has {width} depths, not {depth}")
        room_S = _room(table, depth, convention)
        testable_S = np.minimum(np.minimum(table.drafted_S, room_S), length - np.arange(length))
        inside_SD = np.arange(depth) < testable_S[:, None]
        ratio_SD = np.where(inside_SD, _ratios(table, verification)[:, :depth], 0.0)
        reach_BSD[index, :length] = _reach(ratio_SD)
        testable_BS[index, :length] = testable_S
        drafted_BS[index, :length] = _drafted(table, room_S)
    return reach_BSD, testable_BS, drafted_BS


def _ratios(table: AcceptanceTable, verification: Verification) -> Floats:
    """Return q(y) / p(y) [S, D], clipped at 1 for the standard rule."""
    if verification == "standard":
        return table.accept_SD
    if table.ratio_SD is not None:
        return table.ratio_SD
    if not all_or_nothing(table.accept_SD):
        raise UserError(
            f"The acceptance table of {table.example_id} has no numbers of block verification, "
            "because an older draftmark wrote it; run the recipe again."
        )
    return table.accept_SD


def _reach(ratio_SD: Floats) -> Floats:
    """Return P(first tokens all accepted) [S, D]: the least product of ratios so far, at most 1.

    Ratios that are clipped at 1 have a product that never rises, which is the standard rule.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # beyond 1e308, and 0 after that
        product_SD = np.nan_to_num(np.cumprod(ratio_SD, axis=1))
    reach_SD: Floats = np.minimum.accumulate(np.minimum(product_SD, 1.0), axis=1)
    return reach_SD


def _drafted(table: AcceptanceTable, room_S: Ints) -> Ints:
    """Return the number of tokens [S] that a block drafts, by its start."""
    if table.nodes is not None:
        return _nodes(table.nodes, room_S)
    proposed_S = table.drafted_S if table.proposed_S is None else table.proposed_S
    drafted_S: Ints = np.minimum(proposed_S, room_S)
    return drafted_S


def _room(table: AcceptanceTable, depth: int, convention: Convention) -> Ints:
    """Return the largest number of tokens [S] that a block may draft, by its start."""
    length = len(table.drafted_S)
    limit = length if table.limit is None else table.limit
    left_S = limit - np.arange(length)
    if convention.counts_beyond_end:
        return np.where((left_S == 1) & (not convention.drafts_last), 0, depth)
    return np.clip(left_S - int(not convention.drafts_last), 0, depth)


def _nodes(nodes: Sequence[int], room_S: Ints) -> Ints:
    """Return the number of nodes [S] of a tree that is cut to the depth that has room."""
    nodes_S: Ints = np.array([0, *nodes])[np.minimum(room_S, len(nodes))]
    return nodes_S


def _starts(reach_BSD: Floats, lengths_B: Ints, first: int) -> Floats:
    """Return P(s) [B, S], the probability that a block starts at s; the first starts at `first`."""
    num_prompts, longest, depth = reach_BSD.shape
    # Blocks that reach the end move their start past it, into extra columns that are cut off.
    starts_BS = np.zeros((num_prompts, longest + depth + 1))
    starts_BS[:, first] = 1.0
    # The distribution [B, S, D + 1] of the number of accepted tokens of a block. Reach is zero
    # beyond the drafted tokens, so P(all accepted) falls on depth d.
    moves_BSD = -np.diff(reach_BSD, axis=2, prepend=1.0, append=0.0)
    inside_BS = np.arange(longest) < lengths_B[:, None]
    for start in range(longest):
        here_B = starts_BS[:, start] * inside_BS[:, start]
        starts_BS[:, start] = here_B
        starts_BS[:, start + 1 : start + depth + 2] += here_B[:, None] * moves_BSD[:, start]
    return starts_BS[:, :longest]
