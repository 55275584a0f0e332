"""The leaderboard: every number with its interval and n, failures with their reason."""

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from draftmark.pipeline.recipe_files import load_recipe
from draftmark.reports.leaderboard import REPORT
from draftmark.results import Cell, Comparison, Finding, Number, Pooled, Result, Results, Standing
from draftmark.types import Ledger

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


@pytest.mark.parametrize(
    ("effective", "shown", "notes"),
    [
        (64.0, "n=64", 0),
        (57.7, "n=64", 0),
        (57.5, "n=64 (58 effective)", 1),
        (20.2, "n=64 (20 effective)", 2),
    ],
)
def test_the_effective_number_of_prompts_is_printed_where_long_texts_weigh_more(
    effective: float, shown: str, notes: int
) -> None:
    number = replace(RATE, effective=effective)
    text = _render(_result(numbers={"acceptance_rate[t=0,gamma=4]": number}))
    assert _row_of(text, "kd")[1] == f"0.612 [0.500, 0.700] {shown}"
    assert ("Effective: the number of equally long texts" in text) == (notes > 0)
    assert ("A few long texts hold much of the tokens" in text) == (notes > 1)


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


def test_a_name_that_means_several_things_has_all_their_definitions() -> None:
    numbers = {"quality_draft": _number(1, "a of it"), "quality_draft[b]": _number(1, "b of it")}

    assert "- `quality_draft`: a of it; b of it" in _render(_result(numbers=numbers))


def test_every_number_shown_is_defined() -> None:
    text = _render(_result()).partition("## Definitions")[2]

    assert "- `acceptance_rate`: accepted / tested" in text


@pytest.mark.parametrize(("p", "shown"), [(0.0321, "0.032"), (0.0002, "&lt; 0.001"), (1, "1.000")])
def test_a_difference_comes_with_its_adjusted_p_and_what_could_have_been_seen(
    p: float, shown: str
) -> None:
    row = _result()

    text = _render(row, comparisons=(_compared(row, p=p),))

    (line,) = (line for line in text.splitlines() if "minus untrained |" in line)
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
    spent = ["7", "56", "999", "0", "0", "0", "1.50e+09", "2.2"]
    assert _columns(row) == ["kd", *spent, "-", "0.00"]
    assert "bad" not in "".join(_tables(text)[0])


def test_a_draft_that_kept_what_it_started_with_is_marked_where_its_numbers_are() -> None:
    history = (
        {"step": 0.0, "validation_acceptance": 0.5},
        {"step": 7.0, "validation_acceptance": 0.4},
    )
    learned = (*history, {"step": 9.0, "validation_acceptance": 0.6})

    text = _render(_result(history=history), _result("csd", history=learned))

    assert "**Learned nothing: kd (step 0 has" in text.partition("### ")[0]
    spent = text.partition("### What training cost")[2]
    assert [_columns(line)[-2] for line in _tables(spent)[0][2:]] == ["0", "9"]
    assert "Learned nothing" not in _render(_result(history=learned), _result("x"))


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


def test_the_manifest_tells_seeds_by_task_where_they_differ() -> None:
    rows = [_result(seed=0), _result(seed=1), _result(seed=0)]
    rows[2] = replace(rows[2], cell=replace(rows[2].cell, task="mbpp"))

    assert "seeds: 0, 1 on gsm8k; 0 on mbpp" in _render(*rows).partition("## Manifest")[2]


def _number(value: float, definition: str = "a number") -> Number:
    return Number(value, value, value, 8, definition)


QUALITY = {
    "quality_target": _number(0.1, "exact_match of the target alone"),
    "quality_target[flexible_match]": _number(0.2),
    "truncated_target": _number(0.3),
    "empty_target": _number(0.0),
    "outcome_target[answered]": _number(0.4),
    "reference_log_likelihood_target": _number(-1.25),
    "quality_target_there": _number(0.5),
    "quality_with_draft": _number(0.5),
    "quality_draft": _number(0.6),
    "quality_draft[flexible_match]": _number(0.7),
    "truncated_draft": _number(0.8),
    "outcome_draft[answered]": _number(0.9),
}


def _section(text: str, title: str) -> list[list[str]]:
    """Return the cells of a section's table, numbers without their intervals."""
    (lines, *_) = _tables(text.partition(f"### {title}\n")[2])
    return [[cell.partition(" [")[0] for cell in _columns(line)] for line in lines]


def test_every_score_is_shown_of_the_target_and_of_each_method_with_it_and_alone() -> None:
    header, _, *rows = _section(_render(_result(numbers=QUALITY)), "Quality")

    assert header[1:3] == ["exact match", "flexible match"]
    assert rows == [
        ["target alone", "0.100", "0.200", "-1.250"],
        ["target alone, where the engine ran", "0.500", "-", "-"],
        ["kd, with draft", "0.500", "-", "-"],
        ["kd, draft alone", "0.600", "0.700", "-"],
    ]


def test_how_responses_ended_is_shown_with_the_tasks_own_outcomes() -> None:
    header, _, *rows = _section(_render(_result(numbers=QUALITY)), "Outputs")

    assert header[1:] == ["truncated", "empty", "answered"]
    assert rows == [
        ["target alone", "0.300", "0.000", "0.400"],
        ["kd, draft alone", "0.800", "-", "0.900"],
    ]


def test_several_seeds_have_one_line_of_quality_and_the_target_is_not_pooled() -> None:
    rows = [_result(seed=seed, numbers=QUALITY) for seed in (0, 1)]
    together = Pooled(
        rows[0].cell.contender,
        (0, 1),
        {"quality_target": _number(0.9), "quality_draft": _number(0.65)},
    )
    results = replace(_results(*rows), pooled=(together,))

    _, _, *lines = _section(REPORT(results, Path())["leaderboard.md"], "Quality")

    assert [line[:2] for line in lines] == [
        ["target alone", "0.100"],
        ["target alone, where the engine ran", "0.500"],
        ["kd, 2 seeds, draft alone", "0.650"],
    ]


def _evaluated(rows: Result, **told: Any) -> str:
    recipe = {**RECIPE, "evaluation": {**RECIPE["evaluation"], **told}}
    return REPORT(replace(_results(rows), recipe=recipe), Path())["leaderboard.md"]


def test_fidelity_and_diversity_have_a_line_for_each_temperature() -> None:
    numbers = {
        f"{name}_{who}[t={t}]": _number(0.5)
        for name in ("fidelity", "distinct_1", "distinct_2", "self_bleu", "pass@10", "pass@2")
        for who in ("target", "draft")
        for t in (0.7, 1)
    }
    told = {"count": 10, "temperatures": [0.7, 1.0], "prompts": None}

    header, _, *rows = _section(
        _evaluated(_result(numbers=numbers), samples=told), "Fidelity and diversity"
    )

    shown = ["T", "fidelity", "distinct-1", "distinct-2", "Self-BLEU", "pass@2", "pass@10"]
    assert header[1:] == shown
    assert [row[:2] for row in rows] == [
        ["target alone", "0.7"],
        ["target alone", "1"],
        ["kd, draft alone", "0.7"],
        ["kd, draft alone", "1"],
    ]
    assert {cell for row in rows for cell in row[2:]} == {"0.500"}


def test_the_judge_is_named_and_so_is_what_the_draft_was_held_against() -> None:
    numbers = {name: _number(0.25) for name in ("win_rate", "judge_flips", "judge_unclear")}
    told = {"model": HOSTILE, "against": "target"}

    text = _evaluated(_result(numbers=numbers), judge=told)

    assert _section(text, "Judge")[2] == ["kd", "0.250", "0.250", "0.250"]
    assert "with the target's, in both orders" in text
    assert "<script" not in text


def test_what_was_not_measured_has_no_section() -> None:
    text = _render(_result())

    for title in ("Quality", "Outputs", "Fidelity and diversity", "Judge"):
        assert f"### {title}" not in text


ERROR = Finding("error", "gsm8k, p", "of 2 test questions 1 is in the train rows")
NOTE = Finding("note", "gsm8k, p", HOSTILE)


def test_findings_are_printed_and_errors_marked_where_the_numbers_are() -> None:
    text = REPORT(replace(_results(_result()), findings=(ERROR, NOTE)), Path())["leaderboard.md"]

    section = text.partition("## Checks of fairness and leaks")[2].partition("## Definitions")[0]
    assert "- **error** gsm8k, p: of 2 test questions" in section
    assert section.index("**error**") < section.index("**note**")
    assert "<script" not in section
    numbers = text.partition("### ")[0]
    assert "**Do not compare these numbers: the checks below found errors (1).**" in numbers


def test_without_errors_no_number_is_marked_and_the_section_says_what_was_looked_for() -> None:
    assert (
        "Do not compare"
        not in REPORT(replace(_results(_result()), findings=(NOTE,)), Path())["leaderboard.md"]
    )
    section = _render(_result()).partition("## Checks of fairness and leaks")[2]
    assert "Checked for: test rows among train" in section
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


def test_published_figures_stand_beside_the_measured_ones_with_how_they_differ() -> None:
    pair = {"name": "p", "target": "x/pythia-1.4b@a", "draft": {"model": "x/pythia-31m@a"}}
    rows = [_result(method, seed) for method in ("kd", "other") for seed in (0, 1)]
    together = Pooled(
        rows[0].cell.contender,
        (0, 1),
        {"acceptance_rate[t=0,gamma=4]": replace(RATE, value=0.6)},
    )
    results = replace(_results(*rows), recipe={**RECIPE, "pairs": [pair]}, pooled=(together,))
    text = REPORT(results, Path())["leaderboard.md"]
    told = text.partition("### Published figures beside these")[2].partition("\n#")[0]

    assert "Definitions and protocols differ" in told
    assert "block length, evaluation code and rows are not published" in told
    assert [_columns(line)[:3] for line in told.splitlines() if line.startswith("| kd")] == [
        ["kd", "DistillSpec", "3 epochs"],
        ["kd", "DistillSpec", "best epoch"],
    ]
    assert "| 0.576 | 0.600 [0.500, 0.700] n=64 |" in told
    assert "| other" not in told


def test_a_pair_of_which_nothing_is_published_has_no_such_section() -> None:
    assert "Published figures" not in _render(_result())


def test_the_speedup_names_its_block_length() -> None:
    """An old run's headline was its first condition; a new one has the evaluation's length."""
    short = replace(RATE, value=1.5)
    where = "engine=reference,t=0,batch=1,length=natural"
    both = {f"speedup[gamma=1,{where}]": short, f"speedup[gamma=4,{where}]": RATE}
    for headline, gamma in ((short, 1), (RATE, 4)):
        text = _render(_result(numbers={"speedup": headline, **both}))
        assert f"| speedup, blocks of {gamma} |" in text
        assert f"Speedup: reference engine, temperature 0, blocks of {gamma}," in text


def test_both_ways_of_drafting_are_shown_with_the_way_of_a_default_server() -> None:
    at = "t=1,gamma=4"
    sampled = {f"{rate}[{at}]": RATE for rate in ("acceptance_rate", "block_efficiency")}
    greedy = {f"{key[:-1]},draft=greedy]": replace(RATE, value=0.25) for key in sampled}
    recipe = {**RECIPE, "evaluation": {**RECIPE["evaluation"], "temperatures": [1.0]}}

    def rendered(numbers: dict[str, Number]) -> str:
        results = replace(_results(_result(numbers=numbers)), recipe=recipe)
        return REPORT(results, Path())["leaderboard.md"]

    text = rendered({**sampled, **greedy})
    header = _columns(_tables(text)[0][0])
    names = ("acceptance rate", "block efficiency")
    assert header[1:5] == [f"{n}, T=1, draft {how}" for how in ("sampled", "greedy") for n in names]
    assert "vLLM 0.32 drafts greedily at every temperature unless" in text
    assert "0.25" in _row_of(text, "kd")[3]
    alone = rendered(sampled)
    assert _columns(_tables(alone)[0][0])[1:3] == [f"{name}, T=1" for name in names]
    assert "vLLM" not in alone
