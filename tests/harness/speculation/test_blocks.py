"""Block statistics against closed forms, brute force and a simulation."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.speculation.blocks import (
    REFERENCE,
    TRANSFORMERS,
    VLLM,
    BlockCounts,
    Convention,
    block_counts,
    start_counts,
)
from draftmark.store.acceptance_tables import sliding_table
from draftmark.types import AcceptanceTable


def table_of(
    accept: list[float] | np.ndarray, example_id: str = "a", limit: int | None = None
) -> AcceptanceTable:
    accept_S = np.asarray(accept, dtype=np.float64)
    table = sliding_table(example_id, accept_S, accept_S, np.round(accept_S), 16)
    return replace(table, limit=limit)


class TestStarts:
    @given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=9), min_size=1, max_size=3))
    def test_sums_over_starts_are_the_counts_of_blocks(self, texts: list[list[float]]) -> None:
        tables = [table_of(text, str(index)) for index, text in enumerate(texts)]
        for gamma in (1, 4, 16):
            counts, starts = block_counts(tables, gamma), start_counts(tables, gamma)
            for of_starts_BS, of_blocks_B in (
                (starts.tokens_BS, counts.tokens_B),
                (starts.passes_BS, counts.passes_B),
                (starts.tested_BS, counts.tested_B),
                (starts.accepted_BS, counts.accepted_B),
            ):
                assert of_starts_BS.shape == (len(texts), max(map(len, texts)))
                assert of_starts_BS.sum(-1) == pytest.approx(of_blocks_B, abs=1e-12)

    def test_a_coin(self) -> None:
        starts = start_counts([table_of([0.5, 0.5, 0.5])], 2)
        assert starts.passes_BS[0] == pytest.approx([1, 0.5, 0.5])
        # A block of two: 1 + 0.5 + 0.25 tokens, if as many are left.
        assert starts.tokens_BS[0] == pytest.approx([1.75, 0.5 * 1.5, 0.5])
        assert starts.tested_BS[0] == pytest.approx([1.5, 0.5 * 1.5, 0.5])
        assert starts.accepted_BS[0] == pytest.approx([0.75, 0.5 * 0.75, 0.25])

    def test_no_tables_are_refused(self) -> None:
        with pytest.raises(ValueError, match="nothing to count"):
            start_counts([], 2)


def test_drafts_are_blocks_that_test_a_token() -> None:
    counts = block_counts([table_of([0.5, 0.5, 0.5]), table_of([1.0, 1.0])], 2)
    assert counts.drafts_B == pytest.approx([2.0, 1.0])


def block_efficiency(counts: BlockCounts) -> float:
    return float(counts.tokens_B.sum() / counts.passes_B.sum())


probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)
gammas = st.integers(1, 16)


@pytest.mark.parametrize("alpha", [0.3, 0.8])
@pytest.mark.parametrize("gamma", [1, 3, 5, 8])
def test_a_coin_gives_leviathans_expected_tokens(alpha: float, gamma: int) -> None:
    """Leviathan et al. 2023, equation 1: (1 - alpha^(gamma+1)) / (1 - alpha)."""
    counts = block_counts([table_of([alpha] * 20_000)], gamma)
    expected = (1 - alpha ** (gamma + 1)) / (1 - alpha)
    assert block_efficiency(counts) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("gamma", [1, 3, 5, 8])
def test_a_coin_is_accepted_at_its_own_rate_whatever_gamma(gamma: int) -> None:
    counts = block_counts([table_of([0.8] * 5000)], gamma)
    assert counts.accepted_B.sum() / counts.tested_B.sum() == pytest.approx(0.8, abs=1e-12)


@given(st.integers(1, 40), gammas)
def test_a_perfect_draft_needs_one_pass_for_gamma_plus_one_tokens(length: int, gamma: int) -> None:
    counts = block_counts([table_of([1.0] * length)], gamma)
    assert counts.passes_B[0] == math.ceil(length / (gamma + 1))
    assert counts.accepted_B[0] == counts.tested_B[0] == counts.drafted_B[0]


@given(st.integers(1, 40), gammas)
def test_a_useless_draft_needs_a_pass_for_every_token(length: int, gamma: int) -> None:
    counts = block_counts([table_of([0.0] * length)], gamma)
    assert counts.passes_B[0] == length
    assert counts.accepted_B[0] == 0


@given(probabilities, gammas)
def test_the_expected_passes_are_those_of_every_path_added_up(
    accept: list[float], gamma: int
) -> None:
    @cache
    def passes_from(start: int) -> float:
        if start >= len(accept):
            return 0.0
        total, reach = 1.0, 1.0
        block = accept[start : start + gamma]
        for depth, chance in enumerate(block):
            total += reach * (1 - chance) * passes_from(start + depth + 1)
            reach *= chance
        return total + reach * passes_from(start + len(block) + 1)

    counts = block_counts([table_of(accept)], gamma)
    assert counts.passes_B[0] == pytest.approx(passes_from(0), abs=1e-9)


@given(probabilities, st.integers(1, 15))
def test_a_longer_block_never_needs_more_passes(accept: list[float], gamma: int) -> None:
    shorter = block_counts([table_of(accept)], gamma).passes_B[0]
    longer = block_counts([table_of(accept)], gamma + 1).passes_B[0]
    assert longer <= shorter + 1e-9


@given(probabilities, gammas)
def test_counts_agree_with_each_other(accept: list[float], gamma: int) -> None:
    counts = block_counts([table_of(accept)], gamma)
    accepted, tested, drafted = counts.accepted_B[0], counts.tested_B[0], counts.drafted_B[0]
    assert 0 <= accepted <= tested + 1e-9 <= drafted + 2e-9
    assert counts.reached_BG[0].sum() == pytest.approx(accepted)
    assert np.all(np.diff(counts.reached_BG[0]) <= 1e-9)
    # Every pass emits one token of its own, but for a last block accepted up to the end.
    assert accepted <= counts.tokens_B[0] <= accepted + counts.passes_B[0] + 1e-9


@given(st.lists(probabilities, min_size=1, max_size=5), gammas)
def test_prompts_do_not_influence_each_other(accepts: list[list[float]], gamma: int) -> None:
    together = block_counts([table_of(accept) for accept in accepts], gamma)
    alone = [block_counts([table_of(accept)], gamma) for accept in accepts]
    assert together.passes_B == pytest.approx([counts.passes_B[0] for counts in alone])
    assert together.tested_B == pytest.approx([counts.tested_B[0] for counts in alone])


def test_blocks_of_a_simulated_chain_have_the_predicted_counts() -> None:
    generator = np.random.default_rng(0)
    accept_S = generator.uniform(0.2, 1.0, size=30)
    gamma, runs = 4, 20_000
    passes = np.zeros(runs)
    accepted = 0
    for run in range(runs):
        start = 0
        while start < 30:
            block = accept_S[start : start + gamma]
            kept = int(np.argmin(np.append(generator.random(len(block)) < block, False)))
            accepted += kept
            start += kept + 1
            passes[run] += 1
    counts = block_counts([table_of(accept_S)], gamma)
    standard_error = passes.std() / math.sqrt(runs)
    assert abs(passes.mean() - counts.passes_B[0]) < 4 * standard_error
    assert accepted / runs == pytest.approx(counts.accepted_B[0], rel=0.01)


def test_a_method_that_drafts_nothing_makes_plain_passes() -> None:
    zeros = np.zeros((5, 16))
    none = np.zeros(5, dtype=np.int64)
    table = AcceptanceTable("a", zeros, none, np.zeros(5), np.zeros(5))
    counts = block_counts([table], 4)
    assert counts.passes_B[0] == 5
    assert counts.drafted_B[0] == counts.tested_B[0] == 0


def test_a_table_that_depends_on_the_start_is_followed_by_its_rows() -> None:
    accept_SD = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    table = AcceptanceTable("a", accept_SD, np.array([2, 2, 1]), np.ones(3), np.ones(3))
    # From 0: one accepted, one replaced, so the next block starts at 2 and ends the text.
    assert block_counts([table], 2).passes_B[0] == 2


def test_no_tables_are_an_error_not_a_rate_of_zero() -> None:
    with pytest.raises(ValueError, match="no acceptance tables"):
        block_counts([], 4)


def test_a_table_narrower_than_the_block_is_an_error() -> None:
    narrow = AcceptanceTable("a", np.ones((2, 2)), np.array([2, 1]), np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match="2 depths, not 4"):
        block_counts([narrow], 4)


@given(probabilities, gammas)
def test_a_token_that_prefill_emits_is_a_text_that_starts_one_later(
    accept: list[float], gamma: int
) -> None:
    counts = block_counts([table_of([0.5, *accept])], gamma, Convention(prefill_emits_first=True))
    later = block_counts([table_of(accept)], gamma)
    assert counts.passes_B[0] == pytest.approx(later.passes_B[0])
    assert counts.accepted_B[0] == pytest.approx(later.accepted_B[0])
    assert counts.tokens_B[0] == later.tokens_B[0]


@pytest.mark.parametrize(
    ("limit", "convention", "drafted"),
    [
        (100, REFERENCE, 12),  # the end token is not known ahead: 4 at each of 3 starts
        (4, REFERENCE, 4 + 3 + 2),  # the length limit is
        (3, REFERENCE, 3 + 2 + 1),
        (4, TRANSFORMERS, 3 + 2 + 1),  # never the last token that the limit allows
        (3, TRANSFORMERS, 2 + 1 + 0),
        (3, VLLM, 8),  # prefill emits the first token, and the limit cuts no block
        (None, REFERENCE, 6),  # the limit is unknown: as counted before, within the text alone
    ],
)
def test_a_block_drafts_gamma_wherever_it_starts_unless_a_limit_is_known(
    limit: int | None, convention: Convention, drafted: int
) -> None:
    """A text of 3 tokens that ends in its end token, gamma 4, nothing accepted."""
    counts = block_counts([table_of([0.0] * 3, limit=limit)], 4, convention)
    assert counts.drafted_B[0] == drafted
    testable = 2 if convention is VLLM or (limit, convention) == (3, TRANSFORMERS) else 3
    assert (counts.tested_B[0], counts.accepted_B[0]) == (testable, 0)


@given(probabilities, gammas, st.integers(0, 20), st.sampled_from([REFERENCE, TRANSFORMERS, VLLM]))
def test_counts_are_those_of_every_block_followed_by_hand(
    accept: list[float], gamma: int, more: int, convention: Convention
) -> None:
    """Each start with its probability, token by token, from the definitions."""
    length, limit = len(accept), len(accept) + more
    totals = dict.fromkeys(("passes", "drafted", "tested", "accepted"), 0.0)
    starts = [0.0] * (length + gamma + 2)
    starts[int(convention.prefill_emits_first)] = 1.0
    for start in range(length):
        chance = starts[start]
        room = gamma if convention is VLLM else limit - start - (convention is TRANSFORMERS)
        drafted = min(gamma, room)
        totals["passes"] += chance
        totals["drafted"] += chance * drafted
        place = start
        while place < min(start + drafted, length):  # within the text each token is compared
            totals["tested"] += chance
            starts[place + 1] += chance * (1 - accept[place])
            chance *= accept[place]
            totals["accepted"] += chance
            place += 1
        starts[place + 1] += chance
    counts = block_counts([table_of(accept, limit=limit)], gamma, convention)
    for name, total in totals.items():
        assert getattr(counts, f"{name}_B")[0] == pytest.approx(total, abs=1e-9), name


def test_a_lookup_drafts_what_it_found_also_past_the_end() -> None:
    """It found 2, 5 and 0 tokens; only the length limit cuts them, and gamma."""
    accept_SD = np.zeros((3, 8))
    table = AcceptanceTable("a", accept_SD, np.array([2, 5, 0]), np.ones(3), np.ones(3), limit=9)
    assert block_counts([table], 8).drafted_B[0] == 7
    assert block_counts([table], 4).drafted_B[0] == 6
    assert block_counts([replace(table, limit=4)], 8).drafted_B[0] == 2 + 3
    assert block_counts([table], 8).tested_B[0] == 2


def test_a_tree_drafts_all_its_nodes() -> None:
    table = AcceptanceTable(
        "a", np.zeros((2, 8)), np.array([3, 3]), np.ones(2), np.ones(2), limit=3, nodes=(3, 6, 8)
    )
    assert block_counts([table], 8).drafted_B[0] == 8 + 6  # the limit cuts the second to depth 2
    assert block_counts([table], 1).drafted_B[0] == 3 + 3
    full = replace(table, limit=2)  # the last of two tokens has no room, the first has depth 1
    assert block_counts([full], 8, Convention(drafts_last=False)).drafted_B[0] == 3


@given(probabilities, gammas)
def test_counting_beyond_the_end_drafts_gamma_in_every_pass(
    accept: list[float], gamma: int
) -> None:
    counts = block_counts([table_of(accept)], gamma, Convention(counts_beyond_end=True))
    assert counts.drafted_B[0] == pytest.approx(gamma * counts.passes_B[0])


def test_a_text_of_one_token_that_prefill_emits_has_no_pass() -> None:
    counts = block_counts([table_of([0.5])], 4, Convention(prefill_emits_first=True))
    assert counts.passes_B[0] == counts.tokens_B[0] == 0


@given(probabilities, gammas)
def test_a_position_is_tested_as_often_as_the_one_before_it_is_accepted(
    accept: list[float], gamma: int
) -> None:
    counts = block_counts([table_of(accept)], gamma)
    tested, reached = counts.tested_BG[0], counts.reached_BG[0]
    assert np.all(tested[1:] <= reached[:-1] + 1e-9)  # less only at the end of the text
    assert tested[0] == pytest.approx(counts.passes_B[0])
