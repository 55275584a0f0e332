"""Tables for papers: the numbers where they belong, bold only where it is earned, LaTeX intact."""

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
    alphas = {"kd": [EASY], "csd": [WORSE], "lk": [WORSE]}
    markdown, tex = both(run_of(tmp_path, alphas), tmp_path)
    header, _, row = rows_of(markdown, "Acceptance rate")
    assert header == ["task", "kd (p)", "csd (p)", "lk (p)"]
    assert row == ["gsm8k", "**70.00** ± 10.00", "60.00 ± 10.00", "60.00 ± 10.00"]
    assert tex.count("\\textbf{") == markdown.count("**") / 2 == 2  # in each of the two tables


def test_two_that_share_the_lead_are_not_bold(tmp_path: Path) -> None:
    markdown, tex = both(run_of(tmp_path, {"kd": [EASY], "csd": [EASY], "lk": [WORSE]}), tmp_path)
    assert "**" not in markdown
    assert "textbf" not in tex


def test_tasks_are_rows_and_each_has_its_own_best(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY], "csd": [WORSE]}, tasks=("gsm8k", "xsum"))
    markdown, tex = both(results, tmp_path)
    assert [row[0] for row in rows_of(markdown, "Block efficiency")[2:]] == ["gsm8k", "xsum"]
    assert markdown.count("**") / 2 == 4
    assert "\\multicolumn{2}{c}{p}" in tex
    assert "\\cmidrule(lr){2-3}" in tex


def test_every_line_of_the_tabular_has_as_many_columns(tmp_path: Path) -> None:
    alphas = {"a&b": [EASY], "c_d%": [WORSE], "e\\f": [WORSE]}
    _, tex = both(run_of(tmp_path, alphas, tasks=("x", "y")), tmp_path)
    body = tex.split("\\midrule")[1].split("\\bottomrule")[0]
    lines = [line for line in body.strip().splitlines() if line.endswith(r"\\")]
    assert [line.count(" & ") for line in lines] == [3, 3]
    assert r"a\&b & c\_d\% & e\textbackslash{}f \\" in tex
    for opening, closing in (("{", "}"), ("\\begin", "\\end")):
        assert tex.count(opening) - tex.count(f"\\{opening}") == tex.count(closing) - tex.count(
            f"\\{closing}"
        )


def test_a_table_of_many_columns_is_as_wide_as_the_page(tmp_path: Path) -> None:
    few, many = ({f"m{number}": [EASY[:2]] for number in range(n)} for n in (6, 7))
    _, tex = both(run_of(tmp_path / "few", few, length=3), tmp_path / "few")
    assert "table*" not in tex
    assert "resizebox" not in tex
    _, tex = both(run_of(tmp_path / "many", many, length=3), tmp_path / "many")
    assert tex.count("\\begin{table*}") == tex.count("\\end{tabular}}\n\\end{table*}") == 2
    assert tex.count("\\resizebox{\\textwidth}{!}{%\n\\begin{tabular}") == 2


def test_several_seeds_show_their_pooled_number(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY, EASY, EASY]})
    pooled = Number(0.777, 0.767, 0.787, 24, "x")
    one = Pooled(Contender("gsm8k", "p", "kd"), (0, 1, 2), {"acceptance_rate[t=0,gamma=4]": pooled})
    markdown, _ = both(replace(results, pooled=(one,)), tmp_path)
    assert rows_of(markdown, "Acceptance rate")[2] == ["gsm8k", "77.70 ± 1.00"]
    assert "Means over 3 seeds" in markdown


def test_what_failed_and_what_is_missing_is_said(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY], "csd": [EASY]}, tasks=("gsm8k", "xsum"))
    first, second, third, _ = results.results
    dead = replace(second, failure="broke", numbers={})
    markdown, tex = both(replace(results, results=(first, dead, third)), tmp_path)
    rows = rows_of(markdown, "Acceptance rate")
    assert rows[2][2] == "failed"
    assert rows[3][2] == "-"
    assert "csd on gsm8k, p failed." in markdown
    assert "csd on gsm8k, p failed." in tex


def test_no_results_and_a_single_prompt_render(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY[:1]], "csd": [WORSE[:1]]})
    markdown, _ = both(results, tmp_path)
    assert "**" not in markdown
    markdown, tex = both(replace(results, results=()), tmp_path)
    assert "The run has no results." in markdown
    assert tex.count("the run has no results") == 2


def test_hostile_names_run_nothing(tmp_path: Path) -> None:
    markdown, tex = both(run_of(tmp_path, {HOSTILE: [EASY]}), tmp_path)
    for bad in ("<script>", "\u202e", "\x1b", "\x00", "\n# d"):
        assert bad not in markdown + tex
    assert "\\input" not in tex
    assert len(tex) < 60_000


@pytest.mark.parametrize("temperatures", [(0.0,), (0.0, 1.0)])
def test_there_is_a_table_for_each_rate_and_temperature(
    tmp_path: Path, temperatures: tuple[float, ...]
) -> None:
    markdown, tex = both(run_of(tmp_path, {"kd": [EASY]}, temperatures=temperatures), tmp_path)
    assert markdown.count("\n## ") == tex.count("\\toprule") == 2 * len(temperatures)
