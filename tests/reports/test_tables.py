"""Tables for papers: the numbers where they belong, bold only where it is earned, LaTeX intact."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stored_runs import HOSTILE, run_of

from draftmark.reports.tables import REPORT
from draftmark.results import Contender, Number, Pooled, Results

EASY = tuple(np.linspace(0.5, 0.9, 24))
WORSE = tuple(np.array(EASY) - 0.1)


def rows_of(text: str, heading: str) -> list[list[str]]:
    section = text.split(f"## {heading}")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines]


def both(results: Results, directory: Path) -> tuple[str, str]:
    found = REPORT(results, directory)
    return found["tables.md"], found["tables.tex"]


def test_the_best_is_bold_where_it_is_significant_and_nowhere_else(tmp_path: Path) -> None:
    alphas = {"kd": [EASY], "csd": [WORSE], "mine": [WORSE]}
    markdown, tex = both(run_of(tmp_path, alphas), tmp_path)
    header, _, *rows = rows_of(markdown, "Acceptance rate")
    assert header == ["temperature 0", "GSM8K"]
    assert rows == [
        ["KD", "**70.00** [40.00, 60.00]"],  # the interval is the stored one
        ["CSD", "60.00 [40.00, 60.00]"],
        ["mine", "60.00 [40.00, 60.00]"],
    ]
    assert tex.count("\\textbf{") == markdown.count("**") / 2 == 2  # in each of the two tables


def test_two_that_share_the_lead_are_not_bold(tmp_path: Path) -> None:
    markdown, tex = both(run_of(tmp_path, {"kd": [EASY], "csd": [EASY], "lk": [WORSE]}), tmp_path)
    assert "**" not in markdown
    assert "textbf" not in tex


def test_tasks_are_columns_and_each_has_its_own_best(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY], "csd": [WORSE]}, tasks=("gsm8k", "xsum"))
    markdown, _ = both(results, tmp_path)
    assert rows_of(markdown, "Block efficiency")[0] == ["temperature 0", "GSM8K", "XSum"]
    assert markdown.count("**") / 2 == 4


def test_several_pairs_stand_above_their_tasks(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY]}, tasks=("gsm8k", "xsum"))
    others = tuple(replace(row, cell=replace(row.cell, pair="q")) for row in results.results)
    markdown, tex = both(replace(results, results=(*results.results, *others)), tmp_path)
    assert " & \\multicolumn{2}{c}{p} & \\multicolumn{2}{c}{q} \\\\" in tex
    assert "\\cmidrule(lr){2-3} \\cmidrule(lr){4-5}" in tex
    header = rows_of(markdown, "Block efficiency")[0]
    assert header[1:] == ["p, GSM8K", "p, XSum", "q, GSM8K", "q, XSum"]


def test_every_line_of_the_tabular_has_as_many_columns(tmp_path: Path) -> None:
    alphas = {"a&b": [EASY], "c_d%": [WORSE], "e\\f": [WORSE]}
    _, tex = both(run_of(tmp_path, alphas, tasks=("x", "y")), tmp_path)
    body = tex.split("\\midrule")[1].split("\\bottomrule")[0]
    lines = [line for line in body.strip().splitlines() if r" \\" in line]
    assert [line.count(" & ") for line in lines] == [2] * 6
    for name in (r"a\&b &", r"c\_d\% &", r"e\textbackslash{}f &"):
        assert name in tex
    for opening, closing in (("{", "}"), ("\\begin", "\\end")):
        assert tex.count(opening) - tex.count(f"\\{opening}") == tex.count(closing) - tex.count(
            f"\\{closing}"
        )


@pytest.mark.parametrize(
    ("num_tasks", "num_methods", "kinds"),
    [(3, 2, ["table"] * 2), (6, 2, ["table*"] * 2), (8, 2, ["table*", "table"] * 2)],
)
def test_a_table_of_many_columns_is_split_and_never_scaled(
    tmp_path: Path, num_tasks: int, num_methods: int, kinds: list[str]
) -> None:
    alphas = {f"m{number}": [EASY[:2]] for number in range(num_methods)}
    tasks = [f"t{number}" for number in range(num_tasks)]
    _, tex = both(run_of(tmp_path, alphas, tasks=tasks, length=3), tmp_path)
    assert re.findall(r"\\begin{(table\*?)}", tex) == kinds
    labels = re.findall(r"\\label{(.*)}", tex)
    assert len(set(labels)) == len(kinds)
    assert "resizebox" not in tex
    assert "tiny" not in tex


@pytest.mark.parametrize(
    ("num_tasks", "num_methods", "num_tables"), [(3, 12, 2), (3, 13, 4), (1, 24, 2), (1, 25, 4)]
)
def test_temperatures_are_blocks_of_one_table_while_a_page_holds_them(
    tmp_path: Path, num_tasks: int, num_methods: int, num_tables: int
) -> None:
    """A table of a single task has its intervals beside the numbers, so a page holds more rows."""
    alphas = {f"m{number}": [EASY[:2]] for number in range(num_methods)}
    tasks = [f"t{number}" for number in range(num_tasks)]
    results = run_of(tmp_path, alphas, tasks=tasks, temperatures=(0.0, 1.0), length=3)
    _, tex = both(results, tmp_path)
    assert tex.count("\\begin{table}") == num_tables
    assert ("{\\scriptsize [40.00, 60.00]} \\\\" in tex.split("\nm0 & ")[1].split("\n")[0]) == (
        num_tasks == 1
    )
    assert tex.count("\\emph{temperature") == (4 if num_tables == 2 else 0)


def test_speedup_stands_beside_block_efficiency(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY]}, tasks=("gsm8k", "xsum"))
    speedup = Number(1.5, 1.4, 1.7, 5, "x")
    where = "engine=vllm,t=0,batch=1,length=natural"
    rows = tuple(
        replace(
            row,
            numbers={
                **row.numbers,
                "speedup": speedup,
                f"speedup[gamma=4,{where}]": speedup,
                f"speedup[gamma=2,{where}]": replace(speedup, value=9.0),
            },
        )
        for row in results.results
    )
    speed = {"engine": ["vllm"], "batch_sizes": [1], "temperature": 0.0, "blocks": 5}
    recipe = {**results.recipe, "speed": speed}
    markdown, tex = both(replace(results, results=rows, recipe=recipe), tmp_path)
    header, _, row = rows_of(markdown, "Speedup (vllm, batch 1)")
    assert header[1:] == ["GSM8K, speedup", "GSM8K, tokens", "XSum, speedup", "XSum, tokens"]
    assert row[1:3] == ["1.50 [1.40, 1.70]", "0.70 [0.40, 0.60]"]
    assert "\\label{tab:speedup}" in tex


def test_several_seeds_show_their_pooled_number(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY, EASY, EASY]})
    pooled = Number(0.777, 0.767, 0.789, 24, "x")
    one = Pooled(Contender("gsm8k", "p", "kd"), (0, 1, 2), {"acceptance_rate[t=0,gamma=4]": pooled})
    markdown, tex = both(replace(results, pooled=(one,)), tmp_path)
    assert rows_of(markdown, "Acceptance rate")[2] == ["KD", "77.70 [76.70, 78.90]"]
    assert "{\\scriptsize [76.70, 78.90]}" in tex
    assert "Means over 3 seeds" in markdown


def test_what_failed_and_what_is_missing_is_said(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY], "csd": [EASY]}, tasks=("gsm8k", "xsum"))
    first, second, third, _ = results.results
    dead = replace(second, failure="broke", numbers={})
    markdown, tex = both(replace(results, results=(first, dead, third)), tmp_path)
    rows = rows_of(markdown, "Acceptance rate")
    assert rows[3][1:] == ["failed", "-"]
    assert "CSD on GSM8K, p failed." in markdown
    assert "CSD on GSM8K, p failed." in tex


def test_no_results_and_a_single_prompt_render(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY[:1]], "csd": [WORSE[:1]]})
    markdown, _ = both(results, tmp_path)
    assert "**" not in markdown
    markdown, tex = both(replace(results, results=()), tmp_path)
    assert "The run has no results." in markdown
    assert tex == "% The run has no results.\n"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_tables_compile_within_the_page(tmp_path: Path) -> None:
    """On a page of 5.5 inches, fifteen methods on five tasks."""
    alphas = {f"method number {number} & more_": [EASY[:4]] for number in range(15)}
    tasks = ["gsm8k", "alpaca", "mbpp", "cnn_dm", "xsum"]
    results = run_of(tmp_path, alphas, tasks=tasks, temperatures=(0.0, 1.0), length=3)
    _, tex = both(results, tmp_path)
    page = "\\usepackage[textwidth=5.5in,textheight=9in]{geometry}\\usepackage{booktabs}"
    (tmp_path / "page.tex").write_text(
        f"\\documentclass{{article}}{page}\\begin{{document}}{tex}\\end{{document}}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "too large for page" not in done.stdout


def test_hostile_names_run_nothing(tmp_path: Path) -> None:
    markdown, tex = both(run_of(tmp_path, {HOSTILE: [EASY]}), tmp_path)
    for bad in ("<script>", "\u202e", "\x1b", "\x00", "\n# d"):
        assert bad not in markdown + tex
    assert "\\input" not in tex
    assert len(tex) < 60_000
