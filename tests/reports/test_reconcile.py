"""One run under other tools' definitions, on tables whose numbers are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.drafting.tables import sliding_table
from harness.errors import UserError
from harness.published import Cell, Number, Result, Results
from harness.storage.records import tables_name, write_tables
from harness.types import AcceptanceTable
from reports.reconcile import REPORT

RECIPE: dict[str, Any] = {
    "evaluation": {"num_speculative_tokens": 3, "temperatures": [0.0]},
}


def always(value: float, length: int, name: str) -> AcceptanceTable:
    accept = np.full(length, value)
    return sliding_table(name, accept, accept, accept, 16)


def printed(tables: list[AcceptanceTable], directory: Path) -> dict[str, float]:
    write_tables(directory / tables_name(0.0), tables)
    row = Result(Cell("gsm8k", "p", "kd", 0), {}, None, {}, records=".")
    text = REPORT(Results("r", "t", RECIPE, (row,), (), (), (), (), {}), directory)["reconcile.md"]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[1]: float(row[2]) for row in rows if row[2].replace(".", "").isdigit()}


def test_a_perfect_draft_as_each_tool_would_print_it(tmp_path: Path) -> None:
    # 9 tokens: prefill emits one, two passes emit four each.
    found = printed([always(1.0, 9, "a")], tmp_path)
    assert found["Mean acceptance length"] == pytest.approx(4.0)
    assert found["Avg Draft acceptance rate"] == pytest.approx(1.0)
    assert found["accept_length"] == pytest.approx(4.5)
    assert found["#Mean accepted tokens"] == pytest.approx(4.0)
    assert found["0-alpha"] == pytest.approx(1.0)


def test_a_useless_draft_as_each_tool_would_print_it(tmp_path: Path) -> None:
    found = printed([always(0.0, 9, "a")], tmp_path)
    assert found["Mean acceptance length"] == pytest.approx(1.0)
    assert found["Avg Draft acceptance rate"] == 0.0
    assert found["accept_length"] == pytest.approx(9 / 8, abs=1e-3)


def test_the_last_block_counts_whole_where_a_serving_engine_counts_it_so(tmp_path: Path) -> None:
    # 3 tokens: prefill emits one, one pass accepts both that are left, of three drafted.
    found = printed([always(1.0, 3, "a")], tmp_path)
    assert found["Avg Draft acceptance rate"] == pytest.approx(2 / 3, abs=1e-3)


def test_pooled_and_per_prompt_means_differ_on_prompts_of_different_length(tmp_path: Path) -> None:
    found = printed([always(1.0, 41, "long"), always(0.0, 5, "short")], tmp_path)
    assert found["#Mean accepted tokens"] == pytest.approx(44 / 14, abs=1e-3)
    assert found["average acceptance length"] == pytest.approx(2.5, abs=1e-3)


def test_a_failed_cell_is_named_with_its_reason(tmp_path: Path) -> None:
    row = Result(Cell("gsm8k", "p", "kd", 0), {}, None, {}, failure="no <luck>")
    text = REPORT(Results("r", "t", RECIPE, (row,), (), (), (), (), {}), tmp_path)["reconcile.md"]
    assert "no &lt;luck&gt;" in text


def test_acceptance_tables_that_are_gone_are_one_sentence(tmp_path: Path) -> None:
    row = Result(Cell("gsm8k", "p", "kd", 0), {}, None, {}, records=".")
    with pytest.raises(UserError, match=r"tables-t0.parquet is missing; run the recipe again"):
        REPORT(Results("r", "t", RECIPE, (row,), (), (), (), (), {}), tmp_path)


def test_what_an_engine_counted_stands_beside_what_is_predicted(tmp_path: Path) -> None:
    write_tables(tmp_path / tables_name(0.0), [always(1.0, 9, "a")])
    label = "gamma=3,engine=transformers,t=0,batch=1,length=natural"
    numbers = {
        "counted_passes": Number(9.0, None, None, 1, ""),
        f"counted_passes[{label}]": Number(3.0, None, None, 1, ""),
        f"predicted_passes[{label}]": Number(3.0, None, None, 1, ""),
    }
    row = Result(Cell("gsm8k", "p", "kd", 0), numbers, None, {}, records=".")
    text = REPORT(Results("r", "t", RECIPE, (row,), (), (), (), (), {}), tmp_path)["reconcile.md"]
    assert "| transformers | 3 | 1 | 3.000 | 3.000 | the first pass reads prompt and" in text
    assert "| transformers | tokens per call of the target | 3.000 |" in text
