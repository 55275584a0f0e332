"""The leaderboard: every number with its interval and n, failures with their reason."""

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from harness.published import Cell, Comparison, Finding, Number, Pooled, Result, Results, Standing
from harness.recipes import load_recipe
from harness.types import Ledger
from reports.leaderboard import REPORT

RECIPE: dict[str, Any] = load_recipe("quickstart").model_dump(mode="json")
MANIFEST = {
    "python": "3.11",
    "versions": {"torch": "2.13", "vllm": None},
    "git": {"commit": "0123456789abcdef", "dirty": True},
    "hardware": {"processor": "A | <b>processor</b>", "cores": 2, "accelerators": []},
}
DATA = {
    "task": "gsm8k",
    "task_version": 1,
    "pair": "p",
    "target": "tiny",
    "target_digest": "f" * 64,
    "draft": "layers 0, 7 of the target, embedding and head copied",
    "rows": {"train": 3, "test": 2},
    "source": {"train": "samples", "test": "samples"},
    "digest": {"train": "a" * 64, "test": "b" * 64},
    "overlaps": [
        {
            "group": "train",
            "part": "question",
            "rows": 3,
            "test_rows": 2,
            "short": 0,
            "duplicates": 1,
            "copied": 1,
            "partly": 2,
            "examples": [
                {"test_id": "gsm8k/test/1", "other_id": "gsm8k/train/2", "duplicate": True},
                {"test_id": "gsm8k/test/0", "other_id": "gsm8k/train/0", "duplicate": False},
            ],
        }
    ],
}
RATE = Number(0.61234, 0.5, 0.7, 64, "accepted / tested")
LEDGER = Ledger(steps=7, rows=56, supervised_tokens=999, flops=1.5e9, train_s=2.25)
HOSTILE = "a|b`c`<script>alert(1)</script>\n# d"


def _result(method: str = "kd", seed: int = 0, **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "numbers": {"acceptance_rate[t=0,gamma=4]": RATE},
        "ledger": LEDGER,
        "provenance": {},
    }
    return Result(Cell("gsm8k", "p", method, seed), **{**fields, **changes})


def _failed(method: str, reason: str) -> Result:
    return _result(method, numbers={}, ledger=None, failure=reason)


def _compared(row: Result, against: str = "untrained", p: float = 0.01) -> Comparison:
    quantity = "acceptance_rate[t=0,gamma=4]"
    return Comparison(row.cell.contender, against, quantity, RATE, p / 2, p, 0.0123, 99)


def _results(
    *rows: Result, title: str = "A title", comparisons: tuple[Comparison, ...] = ()
) -> Results:
    return Results("mine", title, RECIPE, rows, (), comparisons, (), (DATA,), MANIFEST)


def _render(*rows: Result, title: str = "A title", comparisons: tuple[Comparison, ...] = ()) -> str:
    files = REPORT(_results(*rows, title=title, comparisons=comparisons), Path())
    assert files.keys() == {"leaderboard.md"}
    return files["leaderboard.md"]


def _columns(line: str) -> list[str]:
    """Return the cells of a table's row, split as GitHub's Markdown splits them."""
    cells = re.findall(r"(?:\\.|[^\\|])+", line.strip().removeprefix("|").removesuffix("|"))
    return [cell.strip() for cell in cells]


def _tables(text: str) -> list[list[str]]:
    found = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    return [block.splitlines() for block in found]


def _row_of(text: str, method: str) -> Sequence[str]:
    return next(columns for line in _tables(text)[0] if (columns := _columns(line))[0] == method)


def test_a_number_comes_with_its_interval_and_its_n() -> None:
    assert _row_of(_render(_result()), "kd")[1] == "0.612 [0.500, 0.700] n=64"


def test_a_number_without_an_interval_says_so() -> None:
    number = replace(RATE, low=None, high=None, n=1)

    text = _render(_result(numbers={"acceptance_rate[t=0,gamma=4]": number}))

    assert _row_of(text, "kd")[1] == "0.612 (n=1, no interval)"


def test_a_missing_number_is_a_dash() -> None:
    assert _row_of(_render(_result()), "kd")[2:-1] == ["-"] * 6


def test_a_failed_row_stays_in_the_table_and_says_why() -> None:
    text = _render(_result(), _failed("bad", "draft bad, seed 0: Mend this."))

    assert _row_of(text, "kd")[1] != "failed"
    assert set(_row_of(text, "bad")[1:-1]) == {"failed"}
    assert "| bad | draft bad, seed 0: Mend this. |" in text.partition("### Failed")[2]


def test_a_run_in_which_all_failed_still_has_its_table() -> None:
    text = _render(_failed("a", "No."), _failed("b", "Nor this."))

    assert set(_row_of(text, "a")[1:-1]) == {"failed"}
    assert "Definitions" not in text
    assert "## Manifest" in text


@pytest.mark.parametrize("hostile", [HOSTILE, "a\\|b", "\\", "![x](http://x.test/y.png)"])
def test_text_from_outside_cannot_break_out_of_its_cell(hostile: str) -> None:
    row = _result(hostile, numbers={"identical": RATE})
    text = _render(
        row,
        _failed(f"{hostile} too", hostile),
        title=hostile,
        comparisons=(_compared(row, against=hostile),),
    )

    for lines in _tables(text):
        assert len({len(_columns(line)) for line in lines}) == 1, lines
    assert "<script" not in text
    assert "\n# d" not in text
    assert not re.search(r"(?<!\\)!\[", text)
    assert not re.search(r"(?<!\\)`c", text)


def test_the_machine_is_harmless_too() -> None:
    assert "<b>" not in _render(_result())


def test_every_number_shown_is_defined() -> None:
    text = _render(_result()).partition("## Definitions")[2]

    assert "- `acceptance_rate`: accepted / tested" in text


@pytest.mark.parametrize(("p", "shown"), [(0.0321, "0.032"), (0.0002, "&lt; 0.001"), (1, "1.000")])
def test_a_difference_comes_with_its_adjusted_p_and_what_could_have_been_seen(
    p: float, shown: str
) -> None:
    row = _result()

    text = _render(row, comparisons=(_compared(row, p=p),))

    (line,) = (line for line in text.splitlines() if "- untrained |" in line)
    assert _columns(line)[-3:] == [shown, "0.012", "99"]
    assert "1 comparisons" in text


def test_seeds_are_named_where_there_are_several() -> None:
    assert _row_of(_render(_result()), "kd")
    text = _render(_result(seed=0), _result(seed=1))
    assert [_columns(line)[0] for line in _tables(text)[0][2:]] == ["kd, seed 0", "kd, seed 1"]


def test_several_seeds_have_a_line_for_all_of_them_first_with_the_groups() -> None:
    rows = [_result(seed=0), _result(seed=1)]
    quantity = "acceptance_rate[t=0,gamma=4]"
    together = Pooled(rows[0].cell.contender, (0, 1), {quantity: replace(RATE, value=0.6)})
    results = replace(
        _results(*rows),
        pooled=(together,),
        standings=(Standing(rows[0].cell.contender, quantity, "ab"),),
    )

    lines = _tables(REPORT(results, Path())["leaderboard.md"])[0][2:]

    assert [_columns(line)[0] for line in lines] == ["kd, 2 seeds", "kd, seed 0", "kd, seed 1"]
    assert _columns(lines[0])[1] == "0.600 [0.500, 0.700] n=64"
    assert _columns(lines[0])[-1] == "ab"


def test_each_task_and_pair_has_a_table_of_its_own() -> None:
    other = replace(_result(), cell=Cell("gsm8k", "q", "kd", 0))

    text = _render(_result(), other)

    assert "## gsm8k, p" in text
    assert "## gsm8k, q" in text


def test_the_ledger_is_printed_for_every_row_that_has_one() -> None:
    text = _render(_result(), _failed("bad", "No.")).partition("### What training cost")[2]

    (row,) = (line for line in _tables(text)[0] if line.startswith("| kd"))
    assert _columns(row) == ["kd", "7", "56", "999", "0", "0", "1.50e+09", "2.2", "0.00"]
    assert "bad" not in "".join(_tables(text)[0])


def test_the_manifest_says_what_the_numbers_rest_on() -> None:
    text = _render(_result()).partition("## Manifest")[2]

    for fact in (
        "2 cores, no accelerator",
        "torch 2.13",
        "commit: 0123456789ab with changes",
        "seeds: 0",
        "3 train, 2 test rows, source: samples",
        "pair p: target tiny (files ffffffffffff), draft init layers 0, 7 of the target",
    ):
        assert fact in text
    assert "vllm" not in text


ERROR = Finding("error", "gsm8k, p", "of 2 test questions 1 is in the train rows")
NOTE = Finding("note", "gsm8k, p", HOSTILE)


def test_findings_are_printed_and_errors_marked_where_the_numbers_are() -> None:
    text = REPORT(replace(_results(_result()), findings=(ERROR, NOTE)), Path())["leaderboard.md"]

    section = text.partition("## Checks of fairness and leaks")[2].partition("## Definitions")[0]
    assert "- **error** gsm8k, p: of 2 test questions" in section
    assert section.index("**error**") < section.index("**note**")
    assert "<script" not in section
    numbers = text.partition("### ")[0]
    assert "**Not fit to be compared: see the errors (1) of the checks below.**" in numbers


def test_without_errors_no_number_is_marked_and_the_section_says_what_was_looked_for() -> None:
    assert (
        "Not fit"
        not in REPORT(replace(_results(_result()), findings=(NOTE,)), Path())["leaderboard.md"]
    )
    section = _render(_result()).partition("## Checks of fairness and leaks")[2]
    assert "Looked for: test rows among train" in section
    assert "Nothing found." in section


def test_the_rows_that_splits_share_are_printed_once_for_all_pairs() -> None:
    results = replace(_results(_result()), data=(DATA, {**DATA, "pair": "q"}))

    section = REPORT(results, Path())["leaderboard.md"].partition("## Checks of fairness")[2]

    (row,) = _tables(section)[0][2:]
    assert _columns(row)[:8] == ["gsm8k", "3 train", "question", "2", "1", "1", "2", "0"]
    assert "gsm8k/test/1 in gsm8k/train/2" in row


def test_a_recipe_without_speed_has_a_leaderboard() -> None:
    results = replace(_results(_result()), recipe={**RECIPE, "speed": None})

    assert "Speedup:" not in REPORT(results, Path())["leaderboard.md"]


def test_a_fine_tuned_target_is_named_with_what_that_cost() -> None:
    data = {**DATA, "fine_tuning": {"texts": [], "ledger": asdict(LEDGER)}}
    text = REPORT(replace(_results(_result()), data=(data,)), Path())["leaderboard.md"]

    assert "fine-tuned on gsm8k: 7 steps, 56 rows, 999 supervised tokens, 1.50e+09 FLOPs" in text
    assert "fine-tuned" not in _render(_result())
