"""Quantities of tables whose counts are known."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from draftmark.analysis.quantities import acceptance_quantities
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


def test_8_prompts_that_accept_nothing_leave_room_for_some_that_do() -> None:
    none_S = np.zeros(40)
    tables = [sliding_table(str(n), none_S, none_S, none_S, MAX_GAMMA) for n in range(8)]
    records: Any = SimpleNamespace(tables={0.0: tables}, speeds={}, floors={})
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
