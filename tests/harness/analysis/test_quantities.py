"""Quantities of tables whose counts are known."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from draftmark.analysis.intervals import Bounds
from draftmark.analysis.quantities import Quantity, acceptance_quantities, require_same_prompts
from draftmark.analysis.statistics import SHARE
from draftmark.analysis.summary import summarise_cell
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.store.acceptance_tables import sliding_table
from draftmark.types import MAX_GAMMA, AcceptanceTable


def test_blocks_that_drafted_nothing_are_none_of_those_that_accept_a_position() -> None:
    # 8 tokens, of which a lookup proposed the fourth and fifth, and the first of them was right.
    accept_SD, drafted_S = np.zeros((8, MAX_GAMMA)), np.zeros(8, dtype=np.int64)
    accept_SD[3, 0], drafted_S[3] = 1.0, 2
    table = AcceptanceTable("a", accept_SD, drafted_S, np.ones(8), np.ones(8))
    records: Any = SimpleNamespace(tables={0.0: [table]})
    found = acceptance_quantities(records, load_recipe("quickstart"))

    def rate(name: str) -> float:
        top_B, bottom_B = found[name].counts
        return float(top_B.sum() / bottom_B.sum())

    where = "[t=0,gamma=4,position="
    assert [rate(f"marginal_acceptance{where}{place}]") for place in (1, 2)] == [1.0, 0.0]
    assert [rate(f"conditional_acceptance{where}{place}]") for place in (1, 2)] == [1.0, 0.0]
    assert f"conditional_acceptance{where}3]" not in found  # nothing tests it
    assert rate("block_efficiency[t=0,gamma=4]") == 8 / 7


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("ratio_S", [None, np.array([0.5, 2.0, 0.5])])
def test_rates_of_block_verification_are_those_above_temperature_0_of_tables_with_ratios(
    temperature: float, ratio_S: Any
) -> None:
    half_S = np.array([0.5, 1.0, 0.5])
    table = sliding_table("a", half_S, half_S, half_S, MAX_GAMMA, ratio_S=ratio_S)
    records: Any = SimpleNamespace(tables={temperature: [table]})
    found = acceptance_quantities(records, load_recipe("quickstart"))
    under_block = [name for name in found if "verification=block" in name]
    assert bool(under_block) == (temperature > 0 and ratio_S is not None)


def test_rates_by_position_are_of_blocks_and_of_those_that_test_the_position() -> None:
    """A coin on 3 tokens, blocks of 4: starts have the probabilities 1, 1/2, 1/2."""
    half_S = np.full(3, 0.5)
    records: Any = SimpleNamespace(
        tables={0.0: [sliding_table("a", half_S, half_S, half_S, MAX_GAMMA)]}
    )
    found = acceptance_quantities(records, load_recipe("quickstart"))
    ends = {"marginal": 1 + 1 / 2 + 1 / 2, "conditional": 1 / 2 + 1 / 4}
    for kind, bottom in ends.items():
        top_B, bottom_B = found[f"{kind}_acceptance[t=0,gamma=4,position=2]"].counts
        assert (top_B.sum(), bottom_B.sum()) == pytest.approx((1 / 4 + 1 / 8, bottom))


def test_8_prompts_that_accept_nothing_leave_room_for_some_that_do() -> None:
    none_S = np.zeros(40)
    tables = [sliding_table(str(n), none_S, none_S, none_S, MAX_GAMMA) for n in range(8)]
    records: Any = SimpleNamespace(tables={0.0: tables}, speeds={}, floors={}, parts={})
    recipe = load_recipe("quickstart")
    numbers = summarise_cell(acceptance_quantities(records, recipe), records, recipe)
    others = 1 - 0.025 ** (1 / 8)
    for name, value, high in (
        ("acceptance_rate[t=0,gamma=4]", 0.0, others),
        ("block_efficiency[t=0,gamma=4]", 1.0, 1 + 4 * others),
        ("block_efficiency[t=0,gamma=16]", 1.0, 1 + 16 * others),
        ("accepted_per_pass[t=0,gamma=4]", 0.0, 4 * others),
        ("accepted_per_pass_per_prompt[t=0,gamma=4]", 0.0, 4 * others),
        ("top1_agreement[t=0]", 0.0, others),
    ):
        number = numbers[name]
        assert (number.value, number.low) == (value, value), name
        assert number.high == pytest.approx(high), name
        assert number.effective == pytest.approx(8), name


def test_every_block_length_from_1_to_16_has_rates_and_the_shown_one_more() -> None:
    one_S = np.full(20, 0.5)
    records: Any = SimpleNamespace(tables={0.0: [sliding_table("a", one_S, one_S, one_S, 16)]})
    found = acceptance_quantities(records, load_recipe("quickstart"))
    for name in ("acceptance_rate", "draft_acceptance_rate", "block_efficiency"):
        keys = [key for key in found if key.startswith(f"{name}[")]
        assert keys == [f"{name}[t=0,gamma={gamma}]" for gamma in range(1, 17)]
    positions = [key for key in found if key.startswith("marginal_acceptance")]
    assert positions == [
        f"marginal_acceptance[t=0,gamma=4,position={place}]" for place in (1, 2, 3, 4)
    ]


def test_a_text_of_one_pass_counts_in_a_mean_over_prompts() -> None:
    one_S, two_S = np.ones(1), np.ones(12)
    tables = [
        sliding_table("one", one_S, one_S, one_S, 16),
        sliding_table("two", two_S, two_S, two_S, 16),
    ]
    records: Any = SimpleNamespace(tables={0.0: tables})
    found = acceptance_quantities(records, load_recipe("quickstart"))
    top_B, bottom_B = found["block_efficiency_per_prompt[t=0,gamma=4]"].counts
    assert (top_B.tolist(), bottom_B.tolist()) == ([1.0, 12 / 3], [1.0, 1.0])


def test_a_mean_over_prompts_leaves_out_those_that_have_no_ratio() -> None:
    """Of three prompts one drafts nothing, one tests a single token, one accepts 1 of 2."""
    tables = []
    for name, drafted, accept in (("none", 0, 0.0), ("single", 1, 0.0), ("two", 2, 0.5)):
        accept_SD, drafted_S = np.zeros((6, MAX_GAMMA)), np.zeros(6, dtype=np.int64)
        accept_SD[0, :2], drafted_S[0] = (accept, 0.0), drafted
        tables.append(AcceptanceTable(name, accept_SD, drafted_S, np.ones(6), np.ones(6)))
    records: Any = SimpleNamespace(tables={0.0: tables})
    found = acceptance_quantities(records, load_recipe("quickstart"))
    top_B, bottom_B = found["acceptance_rate_per_prompt[t=0,gamma=4]"].counts
    assert bottom_B.tolist() == [0, 1, 1]
    assert top_B.tolist() == [0, 0, 0.5 / 1.5]  # the second token is tested in half of the cases


@pytest.mark.parametrize(
    ("tops", "bottoms", "bounds", "expected"),
    [
        ([0, 1, 1], [1, 1, 1], SHARE, True),
        ([0, 1, 1], [1, 1, 1], None, True),
        ([1, 1, 1], [1, 1, 1], None, True),
        ([0, 1, 1], [1, 1, 1], (1.0, 5.0), False),  # a block efficiency
        ([0, 0.5, 1], [1, 1, 1], SHARE, False),
        ([0, 1, 1], [1, 2, 1], SHARE, False),
        ([0, 1, 1], [2, 2, 2], SHARE, False),
    ],
)
def test_a_share_is_of_prompts_that_are_right_or_wrong(
    tops: list[float], bottoms: list[float], bounds: Bounds | None, expected: bool
) -> None:
    counts = np.array(tops, dtype=float), np.array(bottoms, dtype=float)
    assert Quantity(counts, "", ("a", "b", "c"), bounds).is_share is expected


def test_quantities_of_other_prompts_are_not_paired() -> None:
    counts = np.ones(2), np.ones(2)
    one, other = (Quantity(counts, "", prompts) for prompts in (("a", "b"), ("a", "c")))
    require_same_prompts(one, one)
    with pytest.raises(ValueError, match="not paired"):
        require_same_prompts(one, other)
