"""Results under block verification: the numbers of one rule in the place of the other's."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from stored_runs import MANIFEST, recipe_of

from draftmark import registry
from draftmark.analysis.comparisons import by_contender, compare_contenders, rank_contenders
from draftmark.analysis.gate import accepted
from draftmark.analysis.gate.gate import GateTerms, judge_run
from draftmark.analysis.quantities import Quantity, acceptance_quantities, quantity_key
from draftmark.analysis.stored_counts import stored_counts
from draftmark.analysis.summary import GAIN, summarise_cell
from draftmark.analysis.under_block import RunsUnder, results_under
from draftmark.config.recipe import Recipe
from draftmark.errors import UserError
from draftmark.pipeline.render import write_reports
from draftmark.results import Cell, Result, Results
from draftmark.speculation.blocks import block_counts
from draftmark.store.acceptance_tables import read_tables, sliding_table, write_tables
from draftmark.store.cell_records import Records
from draftmark.store.records import tables_name
from draftmark.store.run_folder import load_results, save_results
from draftmark.types import MAX_GAMMA, AcceptanceTable

TEMPERATURES = (0.0, 1.0)
KEY = quantity_key("block_efficiency", 1.0, 4)


def _tables(method: str, temperature: float) -> list[AcceptanceTable]:
    """Return tables of 4 prompts: ratios on both sides of 1, of `b` the higher ones."""
    found = []
    for number in range(4):
        random = np.random.default_rng([number, ord(method), int(temperature)])
        ratio_S = np.exp(random.normal(0.2 if method == "b" else -0.2, 1.0, size=60))
        if temperature == 0:
            ratio_S = np.round(np.minimum(ratio_S, 1.0))
        accept_S = np.minimum(ratio_S, 1.0)
        greedy = accept_S > 0.9, accept_S
        found.append(
            sliding_table(
                f"gsm8k/test/{number}", accept_S, accept_S, accept_S, MAX_GAMMA, *greedy, ratio_S
            )
        )
    return found


@pytest.fixture
def run(tmp_path: Path) -> tuple[Results, Path]:
    """Write a run of two methods at both temperatures, and return it with its folder."""
    document = recipe_of(["gsm8k"], {"a": [[]], "b": [[]]}, TEMPERATURES)
    recipe: Any = Recipe.model_construct(
        evaluation=SimpleNamespace(num_speculative_tokens=4, temperatures=TEMPERATURES),
        methods=[SimpleNamespace(title=name, against=()) for name in ("a", "b")],
        headline_speed=None,
    )
    rows, quantities = [], {}
    for place, method in enumerate(("a", "b")):
        records, folder = f"records/{place:02d}", tmp_path / "run" / f"records/{place:02d}"
        folder.mkdir(parents=True)
        tables = {t: _tables(method, t) for t in TEMPERATURES}
        for temperature, items in tables.items():
            write_tables(folder / tables_name(temperature), items)
        cell, found = Cell("gsm8k", "p", method, 0), Records(tables=tables)
        quantities[cell] = acceptance_quantities(found, recipe)
        numbers = summarise_cell(quantities[cell], found, recipe)
        rows.append(Result(cell, numbers, None, {}, records=records))
    results = _results(document, rows, quantities, recipe)
    save_results(results, tmp_path / "run")
    return results, tmp_path / "run"


def _results(
    document: dict[str, Any],
    rows: list[Result],
    quantities: dict[Cell, dict[str, Quantity]],
    recipe: Recipe,
) -> Results:
    contenders = by_contender(quantities)
    return Results(
        "mine",
        "A title",
        document,
        tuple(rows),
        (),
        compare_contenders(contenders, recipe),
        rank_contenders(contenders, recipe),
        (),
        MANIFEST,
        block_comparisons=compare_contenders(contenders, recipe, "block"),
        block_standings=rank_contenders(contenders, recipe, "block"),
    )


def test_every_number_of_blocks_is_that_of_block_verification(run: tuple[Results, Path]) -> None:
    results, directory = run
    under = results_under(load_results(directory), "block")
    for row, before in zip(under.results, results.results, strict=True):
        tables = read_tables(directory / row.records / tables_name(1.0))
        for gamma in (1, 4, 16):
            counts = block_counts(tables, gamma, verification="block")
            value = row.numbers[quantity_key("block_efficiency", 1.0, gamma)].value
            assert value == pytest.approx(counts.tokens_B.sum() / counts.passes_B.sum())
        assert row.numbers[KEY].value > before.numbers[KEY].value
        assert not [key for key in row.numbers if "verification=" in key]
        same = {key for key in before.numbers if "t=0" in key or "draft=greedy" in key}
        assert {key: row.numbers[key] for key in same} == {k: before.numbers[k] for k in same}
        gain = before.numbers[quantity_key(GAIN, 1.0, 4)]
        assert gain.value == pytest.approx(row.numbers[KEY].value - before.numbers[KEY].value)
        assert gain.low is not None
        assert quantity_key(GAIN, 0.0, 4) not in before.numbers


def test_comparisons_and_standings_are_of_the_rule(run: tuple[Results, Path]) -> None:
    results, _ = run
    under = results_under(results, "block")
    numbers = {row.cell.method: row.numbers for row in under.results}
    for item in under.comparisons:
        key = item.quantity
        expected = numbers["b"][key].value - numbers["a"][key].value
        assert item.difference.value == pytest.approx(expected)
    quantities = [item.quantity for item in results.comparisons]
    assert [item.quantity for item in under.comparisons] == quantities
    assert [item.quantity for item in under.standings] == [s.quantity for s in results.standings]
    assert results_under(under, "block") is under


def test_counts_by_prompt_and_the_gate_are_of_the_rule(
    run: tuple[Results, Path], tmp_path: Path
) -> None:
    results, directory = run
    under, terms = results_under(results, "block"), GateTerms(0.01)
    words = {"reason": "first", "date": "2026-11-30"}
    file, plain = tmp_path / "block.json", tmp_path / "standard.json"
    accepted.save_accepted(accepted.accept_run(under, directory, **words), file)
    accepted.save_accepted(accepted.accept_run(results, directory, **words), plain)
    assert "verification" not in plain.read_text("utf-8")
    known = accepted.load_accepted(file)
    assert known.verification == "block"
    outcome = judge_run(under, stored_counts(under, directory, 4), known, terms)
    assert (outcome.verdict, outcome.verification) == ("PASS", "block")
    assert {line.note for line in outcome.lines} == {"the same counts on every prompt"}
    standard = judge_run(results, stored_counts(results, directory, 4), known, terms)
    moved = {line.name: line.difference for line in standard.lines}
    assert moved["gsm8k/p/a/t=0"] == 0
    assert moved["gsm8k/p/a/t=1"] is not None
    assert moved["gsm8k/p/a/t=1"] < 0


def test_reports_are_written_under_either_rule(run: tuple[Results, Path]) -> None:
    results, directory = run
    report = registry.find_registered("reports", "leaderboard")
    under = results_under(results, "block")
    [file] = write_reports(results, directory, [report])
    (directory / "block").mkdir()
    [other] = write_reports(under, directory, [report], directory / "block")
    text, shown = file.read_text("utf-8"), other.read_text("utf-8")
    gains = sorted(row.numbers[quantity_key(GAIN, 1.0, 4)].value for row in results.results)
    said = f"block efficiency at T=1 by {gains[0]:+.2f} to {gains[1]:+.2f}."
    assert said in text
    assert "### Under block verification" in text
    assert shown.startswith("# A title, under block verification")
    assert said not in shown
    assert "### Under block verification" not in shown
    number = under.results[0].numbers[KEY]
    assert f"{number.value:.2f} [{number.low:.2f}, {number.high:.2f}]" in shown


def test_a_run_of_an_old_version_is_refused_under_block_verification(
    run: tuple[Results, Path],
) -> None:
    results, directory = run
    rows = [
        replace(row, numbers={k: n for k, n in row.numbers.items() if "verification" not in k})
        for row in results.results
    ]
    with pytest.raises(UserError, match="mine has no numbers of block verification"):
        results_under(replace(results, results=tuple(rows)), "block")
    greedy = [
        replace(row, numbers={k: n for k, n in row.numbers.items() if "t=0" in k}) for row in rows
    ]
    assert results_under(replace(results, results=tuple(greedy)), "block").results == tuple(greedy)
    [(loaded, folder)] = RunsUnder([directory], "block")[:1]
    assert (loaded.verification, folder) == ("block", directory)
