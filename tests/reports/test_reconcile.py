"""One run under other tools' definitions, on tables whose numbers are known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from draftmark.errors import UserError
from draftmark.reports.reconcile import REPORT
from draftmark.results import Cell, Number, Result, Results
from draftmark.store.acceptance_tables import sliding_table, write_tables
from draftmark.store.records import DECODES, tables_name, write_decodes
from draftmark.store.speed_records import ENGINE
from draftmark.types import AcceptanceTable, Decode, Round, TimedDecode

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


def test_passes_that_drafted_nothing_are_no_drafts(tmp_path: Path) -> None:
    # 8 tokens, of which a lookup proposed the fourth and fifth, and both were accepted.
    accept_SD, drafted_S = np.zeros((8, 16)), np.zeros(8, dtype=np.int64)
    accept_SD[3, :2], drafted_S[3] = 1.0, 2
    ones = np.ones(8)
    found = printed([AcceptanceTable("a", accept_SD, drafted_S, ones, ones)], tmp_path)
    assert found["Mean acceptance length"] == pytest.approx(3.0)
    assert found["Avg Draft acceptance rate"] == pytest.approx(1.0)
    assert found["0-alpha"] == pytest.approx(1.0)
    # Prefill emits the first token; of the other seven the draft's pass gives three.
    assert found["#Mean accepted tokens"] == pytest.approx(7 / 5)


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


SERVING = {"prefill_emits_first": True, "counts_beyond_end": True}
TIMED: dict[str, Any] = {
    **RECIPE,
    "speed": {"engine": "vllm", "temperature": 0.0, "num_speculative_tokens": 3},
}


def counted(decodes: list[Decode], tables: list[AcceptanceTable], folder: Path) -> dict[str, Any]:
    """Return the rows of the engine's own counts: [engine, predicted] by name."""
    write_tables(folder / tables_name(0.0), tables)
    write_decodes(folder / DECODES, [TimedDecode("draft", 0, 0, each) for each in decodes])
    (folder / ENGINE).write_text(json.dumps({"draft": {"convention": SERVING}}), "utf-8")
    row = Result(Cell("gsm8k", "p", "kd", 0), {}, None, {}, records=".")
    text = REPORT(Results("r", "t", TIMED, (row,), (), (), (), (), {}), folder)["reconcile.md"]
    assert "Counted by the vllm engine" in text
    rows = [line.strip("| ").split(" | ") for line in text.split("Counted by")[1].splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) == 3}


def decoded(name: str, length: int, rounds: tuple[Round, ...]) -> Decode:
    return Decode(name, (1,) * length, 5, rounds, 0.1, 0.1, "length")


def test_an_engines_own_counts_stand_beside_those_predicted_by_its_convention(
    tmp_path: Path,
) -> None:
    # 6 tokens: prefill emits one, a pass four, and the last accepts three for the one that is left.
    full = Round(3, 3)
    found = counted([decoded("a", 6, (full, full))], [always(1.0, 6, "a")], tmp_path)
    assert found["passes of the target"] == ["2", "2"]
    assert found["drafted tokens"] == ["6", "6"]
    assert found["accepted tokens"] == ["4", "4"]
    assert found["accepted beyond the end of a text"] == ["2", "-"]


def test_texts_of_another_length_are_left_out_of_the_comparison(tmp_path: Path) -> None:
    rounds = (Round(3, 0), Round(3, 0))
    decodes = [decoded("a", 3, rounds), decoded("b", 3, rounds)]
    found = counted(decodes, [always(0.0, 3, "a"), always(0.0, 9, "b")], tmp_path)
    assert found["passes of the target"] == ["2", "2"]


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
