"""The cost model: theorem 3.8, corollary 3.9, what any draft obeys, and why one is slower."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.analysis.cost_model import (
    FREE,
    ByGamma,
    Costs,
    break_even_acceptance,
    break_even_cost,
    expected_speedup,
    expected_speedups,
    highest_break_even_cost,
    supposed_costs,
    why_slower,
)
from draftmark.errors import UserError
from draftmark.speculation.blocks import BlockCounts, block_counts
from draftmark.store.acceptance_tables import sliding_table
from draftmark.types import MAX_GAMMA, AcceptanceTable


def table_of(accept: Sequence[float]) -> AcceptanceTable:
    accept_S = np.asarray(accept, dtype=np.float64)
    return sliding_table("a", accept_S, accept_S, accept_S, MAX_GAMMA)


def lengths_of(tables: list[AcceptanceTable]) -> dict[int, list[BlockCounts]]:
    return {gamma: [block_counts(tables, gamma)] for gamma in range(1, MAX_GAMMA + 1)}


@cache
def coin(alpha: float) -> dict[int, list[BlockCounts]]:
    """Return the counts of a text so long that its end does not matter."""
    return lengths_of([table_of([alpha] * 4000)])


def theorem(alpha: float, gamma: int, cost: float) -> float:
    """Leviathan et al. 2023, theorem 3.8."""
    return (1 - alpha ** (gamma + 1)) / ((1 - alpha) * (gamma * cost + 1))


def best(by_gamma: ByGamma, costs: Costs) -> tuple[int, float]:
    """Return the block length of the highest speedup, with it; 0 where none is above 1."""
    speedups = {0: 1.0} | expected_speedups(by_gamma, costs)
    gamma = max(speedups, key=lambda length: (speedups[length], -length))
    return gamma, speedups[gamma]


texts = st.lists(
    st.lists(st.floats(0, 1), min_size=1, max_size=30).map(table_of), min_size=1, max_size=3
)
prices = st.floats(0, 1)
lengths = st.integers(1, MAX_GAMMA)


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("costs", [Costs(0.0), Costs(0.05), Costs(0.2, 0.1)])
def test_a_coin_is_as_fast_as_theorem_3_8_says(alpha: float, costs: Costs) -> None:
    found = expected_speedups(coin(alpha), costs)
    expected = {gamma: theorem(alpha, gamma, costs.per_token) for gamma in found}
    assert found == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("alpha", "cost", "gamma", "speedup"),
    [(0.6, 0.05, 4, 1.92), (0.7, 0.1, 4, 1.98), (0.8, 0.02, 11, 3.82), (0.8, 0.4, 2, 1.36)],
)
def test_the_best_block_of_a_coin_is_that_of_the_theorem_by_enumeration(
    alpha: float, cost: float, gamma: int, speedup: float
) -> None:
    lengths = range(1, MAX_GAMMA + 1)
    assert max(lengths, key=lambda length: theorem(alpha, length, cost)) == gamma
    assert theorem(alpha, gamma, cost) == pytest.approx(speedup, abs=0.005)
    found = best(coin(alpha), Costs(cost))
    assert found == (gamma, pytest.approx(speedup, rel=0.01))


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.9])
def test_some_block_pays_if_and_only_if_alpha_exceeds_the_cost(alpha: float) -> None:
    """Leviathan et al. 2023, corollary 3.9: then the speedup is at least (1 + alpha) / (1 + c)."""
    cheap, dear = Costs(alpha - 0.02), Costs(alpha + 0.02)
    gamma, speedup = best(coin(alpha), cheap)
    assert gamma >= 1
    assert speedup >= (1 + alpha) / (1 + cheap.per_token) * 0.999
    assert best(coin(alpha), dear)[0] == 0


@given(texts, lengths)
def test_a_draft_that_costs_nothing_is_as_fast_as_its_block_efficiency(
    tables: list[AcceptanceTable], gamma: int
) -> None:
    counts = block_counts(tables, gamma)
    tau = counts.tokens_B.sum() / counts.passes_B.sum()
    assert expected_speedups({gamma: [counts]}, FREE)[gamma] == pytest.approx(tau)


@given(texts, prices, prices)
def test_dearer_drafting_is_never_faster(
    tables: list[AcceptanceTable], one: float, other: float
) -> None:
    counts = {gamma: [block_counts(tables, gamma)] for gamma in (1, 4, 9)}
    cheap = expected_speedups(counts, Costs(min(one, other)))
    dear = expected_speedups(counts, Costs(max(one, other)))
    assert all(dear[gamma] <= cheap[gamma] + 1e-12 for gamma in counts)


@given(texts, prices, prices)
def test_only_the_sum_of_both_costs_decides(
    tables: list[AcceptanceTable], cost_ratio: float, verification_cost: float
) -> None:
    counts = {4: [block_counts(tables, 4)]}
    split = expected_speedups(counts, Costs(cost_ratio, verification_cost))
    assert split == expected_speedups(counts, Costs(verification_cost, cost_ratio))


@given(texts, lengths)
def test_at_its_break_even_cost_a_draft_wins_nothing(
    tables: list[AcceptanceTable], gamma: int
) -> None:
    counts = {gamma: [block_counts(tables, gamma)]}
    cost = break_even_cost(counts[gamma])
    assert cost is not None
    assert expected_speedups(counts, Costs(max(cost.value, 0.0)))[gamma] == pytest.approx(1.0)


@given(texts, lengths)
def test_the_break_even_cost_never_exceeds_the_share_of_drafted_tokens_accepted(
    tables: list[AcceptanceTable], gamma: int
) -> None:
    counts = block_counts(tables, gamma)
    cost = break_even_cost([counts])
    assert cost is not None
    assert cost.value <= counts.accepted_B.sum() / counts.drafted_B.sum() + 1e-12


@given(texts)
def test_above_the_highest_break_even_cost_no_block_length_pays(
    tables: list[AcceptanceTable],
) -> None:
    counts = {gamma: [block_counts(tables, gamma)] for gamma in (1, 2, 5)}
    highest = highest_break_even_cost(counts)
    assert highest is not None
    cost = max(highest[1].value, 0.0)
    assert best(counts, Costs(cost + 1e-6))[0] == 0
    if cost > 1e-3:
        assert best(counts, Costs(cost * 0.99))[0] > 0


def test_a_perfect_draft_emits_whole_blocks() -> None:
    counts = lengths_of([table_of([1.0] * 99)])  # 33 blocks of 3 tokens, 2 of them drafted
    assert expected_speedups(counts, Costs(0.25))[2] == pytest.approx(3 / 1.5)


def test_a_useless_draft_is_better_left_out() -> None:
    counts = lengths_of([table_of([0.0] * 50), table_of([0.0] * 9)])
    assert expected_speedups(counts, Costs(0.1))[1] < 1
    for costs in (FREE, Costs(0.1)):
        assert best(counts, costs) == (0, 1.0)


def test_blocks_that_draft_nothing_cost_a_plain_pass() -> None:
    table = table_of([1.0] * 10)
    some = np.where(np.arange(10) < 5, 0, table.drafted_S)  # nothing is proposed in the first half
    lazy = AcceptanceTable("a", table.accept_SD, some, table.overlap_S, table.greedy_match_S)
    # 5 plain passes, then one block of 4 drafted tokens and a bonus.
    found = expected_speedups({4: [block_counts([lazy], 4)]}, Costs(0.5))
    assert found[4] == pytest.approx(10 / (5 + 1 + 4 * 0.5))


def test_what_never_drafts_has_no_break_even_and_costs_nothing() -> None:
    table = table_of([1.0] * 10)
    none = AcceptanceTable(
        "a", table.accept_SD, 0 * table.drafted_S, table.overlap_S, table.greedy_match_S
    )
    counts = {4: [block_counts([none], 4)]}
    assert break_even_cost(counts[4]) is None
    assert highest_break_even_cost(counts) is None
    assert best(counts, Costs(0.5))[0] == 0
    assert expected_speedups(counts, Costs(0.5))[4] == 1.0


def test_an_interval_is_over_prompts_and_holds_the_value() -> None:
    rng = np.random.default_rng(0)
    counts = block_counts([table_of(rng.random(40)) for _ in range(20)], 4)
    number = expected_speedup([counts], Costs(0.1))
    assert number.n == 20
    assert number.low is not None
    assert number.high is not None
    assert number.low < number.value < number.high
    assert number.value == expected_speedups({4: [counts]}, Costs(0.1))[4]


def test_seeds_are_averaged_each_with_its_own_ratio() -> None:
    seeds = [block_counts([table_of([a] * 50), table_of([a] * 60)], 4) for a in (0.2, 0.9)]
    each = [expected_speedups({4: [seed]}, Costs(0.1))[4] for seed in seeds]
    together = expected_speedup(seeds, Costs(0.1))
    assert together.value == pytest.approx(sum(each) / 2)
    assert expected_speedups({4: seeds}, Costs(0.1))[4] == pytest.approx(sum(each) / 2)


@pytest.mark.parametrize("cost", [0.01, 0.3, 0.596, 0.9])
@pytest.mark.parametrize("gamma", [1, 2, 5, 32])
def test_at_its_break_even_acceptance_a_coin_wins_nothing(gamma: int, cost: float) -> None:
    alpha = break_even_acceptance(gamma, Costs(cost))
    assert alpha is not None
    assert theorem(alpha, gamma, cost) == pytest.approx(1.0)


def test_break_even_acceptance_is_the_cost_at_blocks_of_one_and_rises_with_their_length() -> None:
    found = [break_even_acceptance(gamma, Costs(0.5, 0.096)) for gamma in (1, 2, 3, 4, 5)]
    # As issue 843 of github.com/MakazhanAlpamys/Soup has it for c = 0.596.
    assert found == pytest.approx([0.596, 0.701, 0.763, 0.803, 0.832], abs=5e-4)


def test_no_acceptance_pays_for_a_draft_as_slow_as_its_target() -> None:
    assert break_even_acceptance(3, Costs(1.0)) == 1.0
    assert break_even_acceptance(3, Costs(0.7, 0.4)) is None
    assert break_even_acceptance(3, FREE) == 0.0


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_cost_that_is_no_time_is_refused(value: float) -> None:
    with pytest.raises(UserError, match="verification cost of"):
        supposed_costs(0.1, value)
    with pytest.raises(UserError, match="cost ratio of"):
        supposed_costs(value)


GOOD = {"tokens_per_pass": 2.5, "drafted_per_pass": 3.0, "batch_size": 1, "overhead": 1.0}


@pytest.mark.parametrize(
    ("costs", "changes", "reason"),
    [
        (
            Costs(0.1, 0.02),
            {"overhead": 3.0},
            "engine overhead: a drafted token saves 0.50 of a plain pass",
        ),
        (Costs(0.1, 0.02), {"overhead": None}, "decoding alone is faster"),
        (Costs(0.1, 0.02), {"tokens_per_pass": 1.2}, "acceptance too low"),
        (Costs(0.7, 0.02), {}, "cost ratio too high"),
        (Costs(0.1, 0.9), {"batch_size": 16}, "batch too large"),
        (Costs(0.1, 0.9), {}, "verification too dear"),
        (
            Costs(0.1, 0.02),
            {"tokens_per_pass": 1.0, "drafted_per_pass": 0.0},
            "nothing is drafted",
        ),
    ],
)
def test_the_reason_is_the_term_that_is_wrong(
    costs: Costs, changes: dict[str, Any], reason: str
) -> None:
    assert why_slower(costs=costs, **GOOD | changes).startswith(reason)


def test_noise_below_zero_is_no_gift() -> None:
    assert "costs 0.10 (" in why_slower(costs=Costs(0.1, -0.2), **GOOD)
