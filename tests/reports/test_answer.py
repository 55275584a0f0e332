"""The answer of a run: which method is first, by how much, and what to serve with, in few lines."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_runs import HOSTILE
from stored_runs import run_of as stored_run

from draftmark.analysis.statistics import median_ratio
from draftmark.reports._shared.verdict import overall_verdict, shortcomings, verdicts
from draftmark.reports.answer import LINES, REPORT, WIDTH
from draftmark.reports.leaderboard import REPORT as LEADERBOARD
from draftmark.reports.speed import REPORT as SPEED
from draftmark.results import Cell, Contender, Finding, Number, Result, Results, Standing
from tests.reports.test_serving import TERMS, timed, with_parts
from tests.reports.test_what_if import run_of as accepted_run

KEY = "block_efficiency[t={:g},gamma=4]"
LEAD = Number(0.5, 0.4, 0.6, 64, "ahead")
Ranking = Sequence[tuple[str, float, str]]  # method, block efficiency, letters; best first


def ranked(tasks: Mapping[str, Ranking], *, temperatures: Sequence[float] = (0.0,)) -> Results:
    """Return a run whose methods rank like this at every temperature; recipe order is by name."""
    rows, standings = [], []
    for task, ranking in tasks.items():
        values = {method: value for method, value, _ in ranking}
        for method in sorted(values):
            value = values[method]
            number = Number(value, value - 0.1, value + 0.1, 64, "tokens / passes")
            numbers = {KEY.format(t): number for t in temperatures}
            rows.append(Result(Cell(task, "p", method, 0), numbers, None, {}))
        for t in temperatures:
            for place, (method, value, letters) in enumerate(ranking):
                behind = replace(LEAD, value=ranking[0][1] - value) if place else None
                contender = Contender(task, "p", method)
                standings.append(Standing(contender, KEY.format(t), letters, behind))
    recipe: dict[str, Any] = {
        "evaluation": {"num_speculative_tokens": 4, "temperatures": list(temperatures)},
        "speed": None,
    }
    return Results("r", "A title", recipe, tuple(rows), (), (), tuple(standings), (), {})


def run_of(directory: Path, alphas: dict[str, tuple[float, ...]]) -> Results:
    """Return a run without speed whose every token is accepted with the method's alpha."""
    results = accepted_run(directory, alphas)
    return replace(results, recipe={**results.recipe, "speed": None})


def answer_of(results: Results, directory: Path = Path()) -> str:
    text = REPORT(results, directory)["answer.txt"]
    assert all(len(line) <= WIDTH for line in text.splitlines())
    return text


def said(results: Results, directory: Path = Path()) -> str:
    """Return the answer's sentences on one line."""
    return " ".join(answer_of(results, directory).split())


def test_the_first_method_stands_with_its_number_and_its_distance_from_the_next() -> None:
    results = ranked({"gsm8k": [("kd", 2.5, "a"), ("untrained", 2.0, "b")]})
    assert (
        "At T=0 kd is first with 2.50 [2.40, 2.60] tokens per pass of the target, ahead of "
        "untrained by 0.50 [0.40, 0.60]. Speed was not measured."
    ) in said(results)


def test_methods_that_cannot_be_told_apart_from_the_first_are_named() -> None:
    ranking = [("lk", 2.5, "a"), ("tv", 2.45, "ab"), ("kd", 2.4, "b")]
    text = said(ranked({"gsm8k": ranking}))
    assert "At T=0 lk has 2.50 [2.40, 2.60]" in text
    assert "ahead of kd by 0.10 [0.40, 0.60]; tv cannot be told apart from it." in text
    tied = said(ranked({"gsm8k": [("lk", 2.5, "a"), ("kd", 2.4, "a")]}))
    assert "At T=0 no method is ahead of the others: lk or kd, 2.50 [2.40, 2.60]" in tied


def test_a_run_from_before_distances_were_stored_still_has_an_order() -> None:
    results = ranked({"gsm8k": [("kd", 2.5, "a"), ("untrained", 2.0, "b")]})
    old = tuple(replace(item, behind=None) for item in results.standings)
    assert "tokens per pass of the target, ahead of untrained. Speed" in said(
        replace(results, standings=old)
    )


def test_temperatures_of_the_same_order_share_a_sentence() -> None:
    results = ranked({"gsm8k": [("kd", 2.5, "a"), ("lk", 2.0, "b")]}, temperatures=(0.0, 1.0))
    assert (
        "At T=0 and T=1 kd is first with 2.50 [2.40, 2.60] and 2.50 [2.40, 2.60] tokens per pass "
        "of the target, ahead of lk by 0.50 [0.40, 0.60] and 0.50 [0.40, 0.60]."
    ) in said(results)


def test_a_single_method_stands_with_its_number_and_is_ahead_of_nothing() -> None:
    results = replace(ranked({"gsm8k": [("kd", 2.5, "a")]}), standings=())
    alone = "kd has 2.50 [2.40, 2.60] tokens per pass of the target at T=0"
    assert f"{alone}; no other method has numbers." in said(results)


def test_several_tasks_get_one_sentence_and_a_matrix_with_the_best_method_first() -> None:
    board = [("kd", 2.5, "a"), ("untrained", 2.0, "b")]
    text = answer_of(ranked({"gsm8k": board, "mbpp": board}, temperatures=(0.0, 1.0)))
    _, header, first, second, *_ = text.splitlines()
    assert header.split() == ["tokens", "per", "pass,", "T=0", "gsm8k", "mbpp"]
    assert first.split() == ["kd", "2.50", "a", "2.50", "a"]
    assert second.split() == ["untrained", "2.00", "b", "2.00", "b"]
    assert (
        "By block efficiency at T=0 and T=1: kd first on all 2 tasks, ahead of the next by "
        "0.50 [0.40, 0.60] tokens per pass or more."
    ) in " ".join(text.split())


def test_tasks_with_different_first_methods_are_named_with_them() -> None:
    one = [("kd", 2.5, "a"), ("lk", 2.0, "b")]
    other = [("lk", 2.5, "a"), ("kd", 2.4, "a")]
    text = said(ranked({"gsm8k": one, "xsum": other}))
    assert "kd first on gsm8k; lk or kd first on xsum." in text
    assert "or more" not in text


def test_several_pairs_are_named_beside_their_task() -> None:
    boards = {
        "small": [("kd", 2.5, "a"), ("lk", 2.0, "b")],
        "large": [("lk", 2.5, "a"), ("kd", 2.4, "a")],
    }
    found = [
        replace(verdicts(ranked({"gsm8k": board}), Path())[0], pair=pair)
        for pair, board in boards.items()
    ]
    assert "kd first on gsm8k (small); lk or kd first on gsm8k (large)." in overall_verdict(found)


FIVE = ("gsm8k", "alpaca", "mbpp", "cnn_dm", "xsum")


@pytest.mark.parametrize("tasks", [FIVE[:1], FIVE, [f"a task, number {n}" for n in range(13)]])
@pytest.mark.parametrize("name", ["method number {}", "distillspec, half on-policy, variant {}"])
def test_fifteen_methods_leave_room_for_the_paths_on_a_terminal(
    tasks: Sequence[str], name: str
) -> None:
    board = [
        (name.format(number), 3 - number / 10, "abcdefghijklmno"[number]) for number in range(15)
    ]
    text = answer_of(ranked(dict.fromkeys(tasks, board), temperatures=(0.0, 1.0)))
    assert len(text.splitlines()) <= LINES
    assert re.search(r"and (9|10) methods( and 10 columns)? more in the leaderboard", text)
    assert all(f"variant {n} " in text or f"number {n} " in text for n in range(5))
    assert ("10 columns" in text) == (len(tasks) > 5)


def test_a_single_method_too_many_is_shown_and_not_counted() -> None:
    board = [(f"m{n}", 3 - n / 10, "abcd"[n]) for n in range(4)]
    text = answer_of(ranked(dict.fromkeys(FIVE, board), temperatures=(0.0, 1.0)))
    assert all(f"\nm{n} " in text for n in range(4))
    assert "leaderboard" not in text


def with_artefacts(results: Results) -> Results:
    """Return a run that warns of the texts of every task, at length and at both temperatures."""
    tasks = dict.fromkeys(row.cell.task for row in results.results)
    words = "of the target's texts at temperature {}, 98% repeat themselves: " + "check them " * 9
    findings = [
        Finding("warning", f"{task}, p", words.format(temperature), {"text_artefacts": True})
        for task in tasks
        for temperature in (0, 1)
    ]
    return replace(results, findings=tuple(findings))


def without_progress(results: Results) -> Results:
    """Return a run whose trainings did not improve any draft."""
    still = ({"step": 0, "validation_x": 2.0}, {"step": 9, "validation_x": 1.0})
    return replace(results, results=tuple(replace(row, history=still) for row in results.results))


def test_a_verdict_of_many_sentences_says_how_many_it_leaves_out() -> None:
    """Alarm, ranking and what the texts cannot say stay; a list of what did not learn goes."""
    board = [(f"method {n}", 3 - n / 10, "abcdefghijklmno"[n]) for n in range(15)]
    results = ranked(dict.fromkeys(FIVE, board), temperatures=(0.0, 1.0))
    results = with_artefacts(without_progress(results))
    error = Finding("error", "gsm8k, p", "test rows among train rows")
    text = answer_of(replace(results, findings=(*results.findings, error)))

    assert len(text.splitlines()) <= LINES
    assert "and 11 methods and 1 sentence more in the leaderboard" in text
    assert "Do not compare these numbers" in text
    assert "method 0 first on all 5 tasks" in text
    assert "no verdict holds for other texts" in " ".join(text.split())


@pytest.mark.parametrize("tasks", [FIVE[:1], FIVE])
def test_what_a_run_cannot_say_is_brief_where_there_is_no_room(tasks: Sequence[str]) -> None:
    """A warning of three lines for each task and temperature becomes one sentence."""
    board = [(f"method {n}", 3 - n / 10, "abcdefghijklmno"[n]) for n in range(15)]
    text = said(with_artefacts(ranked(dict.fromkeys(tasks, board), temperatures=(0.0, 1.0))))

    named = "gsm8k" if len(tasks) == 1 else "gsm8k, alpaca and 3 others"
    assert f"Most of the target's texts on {named} are cut, empty or repetitive: no verdict" in text
    assert "One seed: another training may land elsewhere." in text
    assert "sentence" not in text


def test_the_longest_limits_give_way_and_the_gravest_stays() -> None:
    """A list of what did not learn goes before the shorter sentence on one seed."""
    ranking = [(f"a method of a long name, {n}", 3 - n / 10, "a") for n in range(9)]
    at_one = [*ranking[1:], ranking[0]]
    boards = {"gsm8k": ranking, "mbpp": at_one, "xsum": ranking, "alpaca": at_one}
    results = ranked(boards, temperatures=(0.0, 1.0))
    failed = replace(results.results[8], failure="no memory")
    results = replace(results, results=(*results.results[:8], failed, *results.results[9:]))
    text = said(with_artefacts(without_progress(results)))

    assert "Most of the target's texts on gsm8k, mbpp and 2 others are cut" in text
    assert "One seed" in text
    assert "Training did not improve" not in text
    assert "1 sentence more in the leaderboard" in text


def test_tasks_are_named_once_for_all_seeds() -> None:
    results = without_progress(ranked({"gsm8k": [("kd", 2.5, "a"), ("untrained", 2.0, "b")]}))
    kd, untrained = results.results
    seeds = [replace(kd, cell=replace(kd.cell, seed=seed)) for seed in (0, 1, 2)]
    lost = [replace(row, cell=replace(row.cell, method="lk"), failure="no luck") for row in seeds]
    found = list(shortcomings(replace(results, results=(*seeds, untrained, *lost))))

    assert found[0] == "Failed: lk on gsm8k."
    assert found[1].startswith("Training did not improve kd on gsm8k; ")


def test_first_methods_that_differ_from_task_to_task_are_counted() -> None:
    """A sentence names two orders at most; of more it counts the tasks of each first method."""
    orders = [("kd", "lk", "tv"), ("lk", "kd", "tv"), ("kd", "tv", "lk"), ("kd", "lk", "tv")]
    letters = [("a", "b", "c"), ("a", "a", "b"), ("a", "a", "b"), ("a", "b", "c")]
    boards = {
        task: [
            (name, 3 - n / 10, letter) for n, (name, letter) in enumerate(zip(*both, strict=True))
        ]
        for task, both in zip(FIVE, zip(orders, letters, strict=True), strict=False)
    }
    assert "at T=0: kd first or tied on 4 of 4 tasks; lk and tv on 1." in said(ranked(boards))


def test_the_draft_to_serve_with_stands_with_its_condition_and_batch_sizes(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": (0.8,), "untrained": (0.1,)})
    with_parts(results, tmp_path, 0.1, {1: 0.0, 16: 0.9})
    text = said(results, tmp_path)
    assert "Serve kd, num_speculative_tokens = 4: 2.39 [" in text
    assert "times as fast (cost model, batch 1, T=0). A draft pays up to batch 1, of 1, 16." in text


def test_where_no_draft_pays_the_best_one_stands_with_its_speedup(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": (0.3,), "untrained": (0.1,)})
    with_parts(results, tmp_path, 0.9, {1: 0.0})
    assert "Serve without a draft: none is known to pay; at best kd, 0.6" in said(results, tmp_path)


FASTER, UNSURE = (1.5, 1.52, 1.48, 1.5, 1.51), (1.02, 1.2, 0.95, 1.1, 1.05)


def timed_run(directory: Path, ratios: Mapping[str, Sequence[float]]) -> Results:
    """Return a run whose methods have these speedups, block by block."""
    results = run_of(directory, dict.fromkeys(ratios, (0.8,)))
    rows = []
    for row, blocks in zip(results.results, ratios.values(), strict=True):
        timed(directory / row.records, "", blocks)
        number = median_ratio(blocks, "")
        rows.append(replace(row, numbers={f"speedup[gamma=4,{TERMS}]": number}))
    speed = {"num_speculative_tokens": 4, "blocks": 5, "length": "natural"}
    return replace(results, results=tuple(rows), recipe={**results.recipe, "speed": speed})


def test_advice_that_another_run_could_turn_says_so_and_how_many_blocks_would_tell(
    tmp_path: Path,
) -> None:
    sure = said(timed_run(tmp_path / "a", {"kd": FASTER}), tmp_path / "a")
    unsure = timed_run(tmp_path / "b", {"kd": UNSURE})
    tied = timed_run(tmp_path / "c", {"kd": FASTER, "sft": [r + 0.01 for r in FASTER[::-1]]})

    assert "cannot tell" not in sure
    found = re.search(
        r"5 blocks cannot tell whether kd pays; use (\d+)\.", said(unsure, tmp_path / "b")
    )
    assert found
    assert int(found[1]) > 5
    assert f"5 blocks cannot tell whether kd pays; use {found[1]}." in str(
        SPEED(unsure, tmp_path / "b")["speed.md"]
    )
    assert re.search(
        r"5 blocks cannot tell sft and kd apart; use (over )?\d+\.", said(tied, tmp_path / "c")
    )


def test_on_several_tasks_the_doubts_are_one_sentence(tmp_path: Path) -> None:
    runs = {name: tmp_path / name for name in ("gsm8k", "mbpp", "xsum", "alpaca")}
    blocks: dict[str, dict[str, tuple[float, ...]]]
    blocks = {"gsm8k": {"kd": UNSURE}, "mbpp": {"kd": UNSURE}, "xsum": {"kd": FASTER}}
    blocks["alpaca"] = {"kd": tuple(1 / ratio for ratio in FASTER)}
    found = [
        replace(verdicts(timed_run(folder, blocks[task]), folder)[0], task=task)
        for task, folder in runs.items()
    ]
    text = overall_verdict(found)

    assert (
        "Serve kd on xsum: 1.50 [1.48, 1.52] times as fast (measured by reference, batch 1, T=0)."
        in text
    )
    assert "No draft pays on alpaca." in text
    assert re.search(
        r"5 blocks cannot tell whether a draft pays on gsm8k and mbpp; use \d+\.", text
    )


def test_a_sentence_that_starts_with_a_name_keeps_it_as_it_is_written() -> None:
    results = ranked({"gsm8k": [("kd", 2.5, "a"), ("untrained", 2.0, "b")]})
    finding = Finding("warning", "gsm8k, p", "98% repeat themselves", {"text_artefacts": True})

    text = said(replace(results, findings=(finding,)))

    assert "gsm8k, p: 98% repeat themselves." in text
    assert "Gsm8k" not in text


def test_block_efficiency_and_speed_that_disagree_are_said_to(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": (0.8,), "lookup": (0.5,)})
    for row, cost in zip(results.results, (0.9, 0.01), strict=True):
        with_parts(replace(results, results=(row,)), tmp_path, cost, {1: 0.0})
    rows = tuple(replace(row, numbers={KEY.format(0): LEAD}) for row in results.results)
    first, second = (row.cell.contender for row in rows)
    standings = (Standing(first, KEY.format(0), "a"), Standing(second, KEY.format(0), "b", LEAD))
    text = said(replace(results, results=rows, standings=standings), tmp_path)
    assert "Serve lookup, num_speculative_tokens = " in text
    assert "Block efficiency puts kd first, speed does not." in text
    [found] = verdicts(replace(results, results=rows, standings=standings), tmp_path)
    every = overall_verdict([found, replace(found, task="xsum", serving=None)])
    assert "Block efficiency and speed disagree on gsm8k." in every


def test_what_a_run_cannot_say_follows_the_verdict() -> None:
    results = ranked({"gsm8k": [("kd", 2.5, "a"), ("untrained", 2.0, "b")]})
    kd, untrained = results.results
    history = ({"step": 0, "validation_x": 2.0}, {"step": 9, "validation_x": 1.0})
    failed = replace(untrained, failure="no memory", numbers={})
    finding = Finding("error", "gsm8k, p", "test rows among train rows")
    text = said(
        replace(results, results=(replace(kd, history=history), failed), findings=(finding,))
    )
    order = [
        "Do not compare these numbers: checks found errors (1).",
        "Failed: untrained on gsm8k.",
        "Training did not improve kd on gsm8k.",
        "One seed: another training may land elsewhere.",
    ]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)


def test_the_leaderboard_opens_with_the_verdict(tmp_path: Path) -> None:
    run = stored_run(tmp_path, {"kd": [[0.8, 0.7]], "untrained": [[0.5, 0.5]]})
    standings = ranked({"gsm8k": [("kd", 2.5, "a"), ("untrained", 2.0, "b")]}).standings
    text = LEADERBOARD(replace(run, standings=standings), tmp_path)["leaderboard.md"]
    assert text.index("kd is first with") < text.index("| method |")


def test_hostile_names_reach_the_answer_without_control_characters() -> None:
    name = HOSTILE[:200]
    text = answer_of(ranked({name: [(name, 2.5, "a"), ("kd", 2.0, "b")]}))
    assert not {"\x1b", "\x00", "\u202e"} & set(text)
