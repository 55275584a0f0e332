"""Categories, ranges of context and conversations: parts that add up to the whole."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from draftmark.analysis.categories import (
    CONTEXT_EDGES,
    category_quantities,
    context_quantities,
    macro_mean,
    range_name,
    sum_conversations,
)
from draftmark.analysis.quantities import BLOCK_TERM, Quantity, acceptance_quantities
from draftmark.analysis.statistics import Counts, estimate_effect, estimate_ratio
from draftmark.analysis.under_block import _differs
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.speculation.blocks import block_counts, start_counts
from draftmark.store.acceptance_tables import sliding_table
from draftmark.types import MAX_GAMMA, AcceptanceTable, Text

GAMMA, RATES = 4, ("acceptance_rate", "block_efficiency")
RECIPE = load_recipe("quickstart")


def _tables(lengths: Sequence[int], seed: int = 0) -> list[AcceptanceTable]:
    random = np.random.default_rng(seed)
    accepts = [random.uniform(size=length) for length in lengths]
    return [
        sliding_table(f"t/test/{n}", one_S, one_S, one_S, MAX_GAMMA)
        for n, one_S in enumerate(accepts)
    ]


def _records(tables: Sequence[AcceptanceTable], prompts: Sequence[int]) -> Any:
    texts = [
        Text(table.example_id, (1,) * length, (2,) * len(table.drafted_S))
        for table, length in zip(tables, prompts, strict=True)
    ]
    return SimpleNamespace(tables={0.0: tables}, texts={0.0: texts})


def test_categories_add_up_to_the_whole_exactly() -> None:
    tables = _tables([5, 9, 14, 3, 8, 11])
    found = acceptance_quantities(_records(tables, [1] * 6), RECIPE)
    names = [table.example_id for table in tables]
    categories = dict(zip(names, ["a", "b", "", "a", "b,[c]", ""], strict=True))
    parts = category_quantities(found, categories, GAMMA)

    for name in RATES:
        whole = found[f"{name}[t=0,gamma=4]"]
        keys = [key for key in parts if key.startswith(f"{name}_by_category[")]
        assert [key.rpartition("=")[2] for key in keys] == ["a]", "b]", "no category]", "b;(c)]"]
        prompts = [prompt for key in keys for prompt in parts[key].prompts]
        assert sorted(prompts) == sorted(whole.prompts)
        for side in (0, 1):
            by_prompt = dict(zip(whole.prompts, whole.counts[side], strict=True))
            for key in keys:
                chosen = [by_prompt[prompt] for prompt in parts[key].prompts]
                assert list(parts[key].counts[side]) == chosen
    assert category_quantities(found, dict.fromkeys(names, ""), GAMMA) == {}


def _quantity(top: Sequence[float], bottom: Sequence[float], start: int = 0) -> Quantity:
    names = tuple(str(start + place) for place in range(len(top)))
    return Quantity((np.array(top, float), np.array(bottom, float)), "d", names, (0.0, 9.0))


def test_the_macro_mean_weighs_every_category_the_same() -> None:
    parts = [_quantity([4, 2], [2, 2]), _quantity([9, 3, 6], [3, 3, 3], 2), _quantity([5], [1], 5)]
    found = macro_mean(parts, parts[0])

    assert found.counts[0].sum() / found.counts[1].sum() == pytest.approx((1.5 + 2 + 5) / 3)
    assert found.prompts == ("0", "1", "2", "3", "4", "5")


def test_the_macro_mean_of_equal_weights_has_the_spread_of_strata() -> None:
    """The variance is the sum of those of the categories' means, over the square of their number.

    Of a ratio with denominators 1 this is the textbook stratified mean.
    """
    random = np.random.default_rng(1)
    values = [random.normal(3, 1, 400), random.normal(5, 1, 400)]
    parts = [_quantity(v.tolist(), [1.0] * 400, 400 * n) for n, v in enumerate(values)]
    whole = macro_mean(parts, parts[0])
    found = estimate_effect([whole.counts])
    error = np.sqrt(sum(v.var(ddof=1) / 400 for v in values)) / 2

    assert found.value == pytest.approx(np.mean([v.mean() for v in values]))
    assert found.standard_error == pytest.approx(error, rel=0.005)
    pooled = estimate_effect([(np.concatenate(values), np.ones(800))])
    assert pooled.standard_error > 1.3 * error


def test_a_macro_mean_pairs_two_methods_on_their_prompts() -> None:
    random = np.random.default_rng(2)
    easy, hard = random.normal(0, 2, 50), random.normal(4, 2, 50)
    ones = [1.0] * 50

    def side(by: float) -> Counts:
        parts = [_quantity([*(easy + by)], ones), _quantity([*(hard + by)], ones, 50)]
        return macro_mean(parts, parts[0]).counts

    found = estimate_effect([side(0.5)], [side(0.0)])

    assert found.value == pytest.approx(0.5)
    assert found.standard_error == pytest.approx(0)


def test_counts_by_start_add_up_to_the_counts_of_blocks() -> None:
    tables = _tables([1, 2, 7, 30])
    for gamma in (1, 3, 8):
        whole, starts = block_counts(tables, gamma), start_counts(tables, gamma)
        for name in ("tokens", "passes", "tested", "accepted"):
            sums_B = getattr(starts, f"{name}_BS").sum(axis=1)
            assert sums_B == pytest.approx(getattr(whole, f"{name}_B"), abs=1e-12), name


def test_ranges_of_context_add_up_and_count_the_prompt() -> None:
    tables = _tables([40, 60, 30])
    records = _records(tables, [240, 500, 100])
    found, whole = context_quantities(records, GAMMA), acceptance_quantities(records, RECIPE)

    for name in RATES:
        keys = [key for key in found if key.startswith(f"{name}_by_context[t=0,gamma=4,context=")]
        assert [key.rpartition("=")[2] for key in keys] == ["0-255]", "256-511]", "512-1023]"]
        # 240 prompt tokens and 40 of the response, and 100 and 30, begin below 256.
        assert [found[key].prompts for key in keys] == [
            ("t/test/0", "t/test/2"),
            ("t/test/0", "t/test/1"),
            ("t/test/1",),
        ]
        for side in (0, 1):
            parts = sum(found[key].counts[side].sum() for key in keys)
            assert parts == pytest.approx(whole[f"{name}[t=0,gamma=4]"].counts[side].sum())
    one_range = _records(tables, [10, 10, 10])
    assert context_quantities(one_range, GAMMA) == {}


def test_the_rate_of_a_range_is_that_of_the_blocks_that_start_in_it() -> None:
    """All tokens below a context of 256 are accepted, none above it."""
    accept_S = np.array([1.0] * 6 + [0.0] * 10)
    table = sliding_table("t/test/0", accept_S, accept_S, accept_S, MAX_GAMMA)
    found = context_quantities(_records([table], [250]), 2)
    rates = {
        key.rpartition("=")[2][:-1]: top_B.sum() / bottom_B.sum()
        for key, item in found.items()
        for top_B, bottom_B in [item.counts]
        if key.startswith("block_efficiency")
    }

    assert rates == {"0-255": 3.0, "256-511": 1.0}


def test_ranges_have_no_gap_and_no_end() -> None:
    assert [range_name(span) for span in ((0, 256), (131072, float("inf")))] == [
        "0-255",
        "131072 or more",
    ]
    assert CONTEXT_EDGES[0] == 0
    assert list(CONTEXT_EDGES) == sorted(CONTEXT_EDGES)


def test_a_conversation_counts_as_one_prompt() -> None:
    names = ("t/0/turn-1", "t/0/turn-2", "t/1", "t/2/turn-1", "t/2/turn-2")
    item = Quantity((np.arange(5.0), np.array([2.0, 2, 2, 4, 4])), "d", names)
    found = sum_conversations(item)

    assert found.prompts == ("t/0", "t/1", "t/2")
    assert list(found.counts[0]) == [1, 2, 7]
    assert list(found.counts[1]) == [4, 2, 8]
    single = Quantity((np.ones(2), np.ones(2)), "d", ("a", "b"))
    assert sum_conversations(single) is single


def test_intervals_of_turns_that_agree_are_those_of_their_conversations() -> None:
    """Two turns with the same counts say no more than one of them."""
    random = np.random.default_rng(3)
    top_B = random.uniform(0, 4, 12)
    names = tuple(f"t/{n}/turn-{turn}" for n in range(12) for turn in (1, 2))
    twice = Quantity((np.repeat(top_B, 2), np.full(24, 4.0)), "d", names)
    once = estimate_ratio(top_B, np.full(12, 4.0), "d")
    clustered = estimate_ratio(*sum_conversations(twice).counts, "d")

    assert (clustered.low, clustered.high, clustered.n) == pytest.approx((once.low, once.high, 12))
    naive = estimate_ratio(*twice.counts, "d")
    assert naive.low is not None
    assert once.low is not None
    assert naive.low > once.low


def _rate(item: Quantity) -> float:
    top_B, bottom_B = item.counts
    return float(top_B.sum() / bottom_B.sum())


def test_parts_of_block_verification_take_the_place_of_the_standard_ones() -> None:
    """A table with ratios above 1 accepts more jointly; `results_under` finds it by its key."""
    accept_S = np.array([0.5, 1.0] * 20)
    ratio_S = np.array([0.5, 4.0] * 20)
    tables = [
        replace(
            sliding_table(f"t/test/{n}", accept_S, accept_S, accept_S, MAX_GAMMA),
            ratio_SD=sliding_table("r", ratio_S, accept_S, accept_S, MAX_GAMMA).accept_SD,
        )
        for n in range(4)
    ]
    texts = [Text(table.example_id, (1,) * 240, (2,) * 40) for table in tables]
    records: Any = SimpleNamespace(tables={1.0: tables}, texts={1.0: texts})
    found = acceptance_quantities(records, RECIPE) | context_quantities(records, GAMMA)
    categories = {table.example_id: str(n % 2) for n, table in enumerate(tables)}
    found |= category_quantities(found, categories, GAMMA)

    names = [f"block_efficiency{part}" for part in ("_by_category", "_macro_mean", "_by_context")]
    for name in names:
        standard = [key for key in found if key.startswith(f"{name}[") and BLOCK_TERM not in key]
        assert standard
        for key in standard:
            block = found[f"{key.removesuffix(']')}{BLOCK_TERM}]"]
            sums = [
                top_B.sum() / bottom_B.sum()
                for top_B, bottom_B in (block.counts, found[key].counts)
            ]
            assert sums[0] > sums[1], key
    assert all(_differs(key) for key in found if key.partition("[")[0] in names)
