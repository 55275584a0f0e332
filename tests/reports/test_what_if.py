"""The what-if report on tables whose numbers are known, and its figure as bytes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from draftmark.errors import UserError
from draftmark.reports._figures.what_if import best_drafts
from draftmark.reports._shared.acceptance import scored_drafts
from draftmark.reports.what_if import REPORT
from draftmark.results import Cell, Finding, Number, Pooled, Result, Results
from draftmark.store.acceptance_tables import sliding_table, write_tables
from draftmark.store.records import tables_name
from draftmark.types import MAX_GAMMA

HOSTILE = "_a|b`<script>$x_1$\n# d"
RATE = Number(0.5123, 0.4, 0.6, 3, "accepted / tested")


def run_of(directory: Path, alphas: dict[str, tuple[float, ...]], *, prompts: int = 3) -> Results:
    """Return a run of methods whose every token is accepted with their alpha, one for each seed."""
    rows, temperatures = [], [0.0, 1.0]
    for method, seeds in alphas.items():
        for seed, alpha in enumerate(seeds):
            folder = directory / f"records/{len(rows):02d}"
            folder.mkdir(parents=True)
            accept_S = np.full(400, alpha)
            tables = [
                sliding_table(f"{number}", accept_S, accept_S, accept_S, MAX_GAMMA)
                for number in range(prompts)
            ]
            for temperature in temperatures:
                write_tables(folder / tables_name(temperature), tables)
            numbers = {f"acceptance_rate[t={t:g},gamma=4]": RATE for t in temperatures}
            where = str(folder.relative_to(directory))
            cell = Cell("gsm8k", "p", method, seed)
            rows.append(Result(cell, numbers, None, {}, records=where))
    recipe: dict[str, Any] = {
        "evaluation": {"num_speculative_tokens": 4, "temperatures": temperatures},
    }
    return Results("r", "A title", recipe, tuple(rows), (), (), (), (), {})


def text_of(results: Results, directory: Path, report: Any = REPORT) -> str:
    text = report(results, directory)["what_if.md"]
    assert isinstance(text, str)
    return text


def rows_of(text: str, section: str) -> list[list[str]]:
    """Return the cells of every table row of a section."""
    body = text.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in body.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines]


def test_a_perfect_draft_at_every_cost(tmp_path: Path) -> None:
    text = text_of(run_of(tmp_path, {"kd": (1.0,)}), tmp_path)
    rows = {row[0]: row for row in rows_of(text, "gsm8k, p, kd, temperature 0")}
    # 400 tokens are 12 blocks of 30 + 1 and one that ends with its 28th: 388 drafted tokens.
    # The shortest that needs 13 passes, and the longest that needs no fewer.
    # All prompts have one speedup: nothing is known of how others would differ.
    assert rows["0"][1] == "30.77, blocks of 30 to 32"
    assert rows["0.5"][1].startswith(f"{400 / (13 + 388 * 0.5):.2f},")
    assert rows["4"][1] == "5.000"
    assert rows["4"][2].startswith("1.000 [")
    assert rows["4"][2].endswith(", 1.000]")
    assert rows["4"][-1] == f"{5 / 3:.2f}"  # 5 tokens in 1 + 4 x 0.5


def test_a_useless_draft_never_pays(tmp_path: Path) -> None:
    text = text_of(run_of(tmp_path, {"untrained": (0.0,)}), tmp_path)
    rows = {row[0]: row for row in rows_of(text, "gsm8k, p, untrained, temperature 1")}
    assert {cell for cost in ("0", "0.01", "0.5") for cell in rows[cost][1:]} == {"1, no draft"}
    assert any(cell.startswith("0.000 [0.000, 0.") for cell in rows["1"])


def test_a_draft_pays_up_to_its_acceptance_rate(tmp_path: Path) -> None:
    text = text_of(run_of(tmp_path, {"kd": (0.25,)}), tmp_path)
    first = rows_of(text, "Does it pay?")[2]
    assert first[1] == "0.512 [0.400, 0.600]"  # as published
    assert first[2].startswith("0.249 [")  # 0.25, less the bonus token that the text's end has not
    assert first[3] == "1"
    rows = {row[0]: row for row in rows_of(text, "gsm8k, p, kd, temperature 0")}
    assert "blocks of 1" in rows["0.2"][1]
    assert rows["0.2"][3] == "1, no draft"  # c + w = 0.25
    assert rows["0.3"][1] == "1, no draft"


def test_break_even_acceptance_at_blocks_of_one_is_the_cost(tmp_path: Path) -> None:
    report = replace(REPORT, cost_ratios=(0.2, 1.5), verification_costs=(0.1,))
    text = text_of(run_of(tmp_path, {"kd": (0.5,)}), tmp_path, report)
    rows = {row[0]: row for row in rows_of(text, "Does it pay?")}
    assert rows["0.2"][1:3] == ["0.300", "0.422"]
    assert set(rows["1.5"][1:]) == {"never"}


def test_the_costs_asked_for_are_those_shown(tmp_path: Path) -> None:
    report = replace(REPORT, cost_ratios=(0.07,), verification_costs=(0.02, 0.03))
    text = text_of(run_of(tmp_path, {"kd": (0.5,)}), tmp_path, report)
    assert "| c | w = 0.02 | w = 0.03 |" in text
    assert "under each c the expected speedup at w = 0.02" in text
    assert "| 0.07 |" in text


def test_seeds_of_a_method_are_one_draft_with_their_pooled_rate(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": (0.2, 0.8)})
    rate = {"acceptance_rate[t=0,gamma=4]": replace(RATE, value=0.777)}
    pooled = Pooled(results.results[0].cell.contender, (0, 1), rate)
    text = text_of(replace(results, pooled=(pooled,)), tmp_path)
    assert text.count("## gsm8k, p, kd, temperature 0") == 1
    assert "over 3 prompts and 2 seeds" in text
    assert "0.777" in text


def test_a_failed_cell_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": (0.5,)})
    failed = Result(Cell("gsm8k", "p", "csd", 0), {}, None, {}, failure="no <luck>")
    found = REPORT(replace(results, results=(failed, *results.results)), tmp_path)
    assert "## gsm8k, p, csd, seed 0\n\nFailed: no &lt;luck&gt;" in str(found["what_if.md"])
    assert "## gsm8k, p, kd, temperature 0" in str(found["what_if.md"])
    assert "what_if.png" in found
    assert "Failed: csd on gsm8k. One seed: another training" in str(found["what_if.md"])


def test_names_are_harmless_in_text_and_figure(tmp_path: Path) -> None:
    results = replace(run_of(tmp_path, {HOSTILE: (0.5,)}), title=HOSTILE)
    found = REPORT(results, tmp_path)
    text = str(found["what_if.md"])
    assert "<script>" not in text
    assert "\n# d" not in text
    assert found["what_if.png"]


def test_one_prompt_gives_values_without_intervals(tmp_path: Path) -> None:
    text = text_of(run_of(tmp_path, {"kd": (1.0,)}, prompts=1), tmp_path)
    assert "| 4 | 5.000 | 1.000 | 5.00 |" in text


def test_the_figure_is_a_png_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    methods = {f"method {number}": (0.1 * number,) for number in range(6)}
    results = run_of(tmp_path, methods)
    first, again = (REPORT(results, tmp_path)["what_if.png"] for _ in range(2))
    assert isinstance(first, bytes)
    assert first.startswith(b"\x89PNG")
    assert first == again
    assert b"Software" not in first


def test_the_figure_has_the_six_best_drafts(tmp_path: Path) -> None:
    """A run of many methods has a picture that a screen can show; the text has all of them."""
    methods = {f"method {number}": (0.1 * number,) for number in range(9)}
    every = scored_drafts(run_of(tmp_path, methods), tmp_path)
    found = [item for item in every if item.temperature == 0]
    drawn = [item.contender.method for item in best_drafts(found)]
    assert len(found) == 9
    assert drawn == [f"method {number}" for number in (8, 7, 6, 5, 4, 3)]


def test_a_cost_below_nothing_is_refused_before_tables_are_read(tmp_path: Path) -> None:
    results = Results("r", "t", {}, (), (), (), (), (), {})
    with pytest.raises(UserError, match="cost ratio of -1 is not possible"):
        replace(REPORT, cost_ratios=(-1.0,))(results, tmp_path)


def test_importing_reports_loads_no_matplotlib() -> None:
    script = (
        "import sys, draftmark.reports.what_if, draftmark.reports._figures\n"
        "print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_drawing_opens_no_window_and_keeps_a_persons_style(tmp_path: Path) -> None:
    import matplotlib as mpl

    before = mpl.rcParams["font.size"], mpl.rcParams["text.parse_math"]
    had_pyplot = "matplotlib.pyplot" in sys.modules
    REPORT(run_of(tmp_path, {"kd": (0.5,)}), tmp_path)
    assert (mpl.rcParams["font.size"], mpl.rcParams["text.parse_math"]) == before
    assert ("matplotlib.pyplot" in sys.modules) == had_pyplot


def test_warnings_on_texts_and_on_old_counts_come_before_any_advice(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": (0.5,)})
    finding = Finding("warning", "gsm8k, p", "98% repeat themselves", {"text_artefacts": True})
    (row,) = results.results
    old = Number(0.5, None, None, 2, "accepted / drafted tokens")
    row = replace(row, numbers={**row.numbers, "draft_acceptance_rate[t=0,gamma=4]": old})

    text = str(
        REPORT(replace(results, results=(row,), findings=(finding,)), tmp_path)["what_if.md"]
    )

    before = text.partition("## What to serve with")[0]
    assert "**Warning: gsm8k, p: 98% repeat themselves.**" in before
    assert "**An older version counted the drafted tokens of this run" in before
