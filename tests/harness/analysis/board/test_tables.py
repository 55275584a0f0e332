"""Tables of a board: who pairs with whom, ties, speeds apart, trust, and the site."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from board_runs import board_run, make_board, sound_rows, tamper
from commands import run_command
from hypothesis import given
from hypothesis import strategies as st
from stored_runs import HOSTILE, NUMBER

from draftmark.analysis.board.answers import answers
from draftmark.analysis.board.board import open_board
from draftmark.analysis.board.count_checks import Texts, impossible_counts
from draftmark.analysis.board.counts import Condition, counts_of, read_counts, write_counts
from draftmark.analysis.board.submission import Submission, folder_name
from draftmark.analysis.board.submit import submit_run
from draftmark.analysis.board.tables import (
    acceptance_tables,
    disagreements,
    speed_tables,
    speedups,
    trust_of,
)
from draftmark.errors import UserError
from draftmark.pipeline.publish import RunOptions
from draftmark.pipeline.rerun import rerun_row
from draftmark.registry import find_registered
from draftmark.reports._site.board_pages import verdict
from draftmark.results import Finding, Number
from draftmark.speculation.blocks import block_counts
from draftmark.store.acceptance_tables import sliding_table
from draftmark.types import MAX_GAMMA

PATH = st.lists(st.floats(0, 3), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    board_run(folder / "run", {"kd": [0.8], "lk": [0.79], "untrained": [0.1]})
    list(submit_run(folder / "run", open_board(make_board(folder / "board")), date="2026-01-01"))
    return folder / "board"


@given(st.lists(PATH, min_size=1, max_size=4), st.integers(1, 6), st.booleans())
def test_counts_of_any_draft_add_up(texts: list[list[float]], gamma: int, block: bool) -> None:
    tables = [
        sliding_table(
            f"{place}", np.minimum(ratio_S, 1), ratio_S, ratio_S, MAX_GAMMA, ratio_S=ratio_S
        )
        for place, ratio_S in enumerate(map(np.array, texts))
    ]
    rule: Any = "block" if block else "standard"
    counts = {
        Condition(0, 1.0, gamma, rule): counts_of(block_counts(tables, gamma, verification=rule))
    }

    cells = {0: Texts("gsm8k", len(texts), most=12, is_greedy=True)}
    assert list(impossible_counts(counts, cells)) == []


def test_counts_are_read_as_they_were_written(filled: Path, tmp_path: Path) -> None:
    first = sound_rows(filled)[0].counts
    write_counts(tmp_path / "counts.parquet", first)

    again = read_counts(tmp_path / "counts.parquet")

    assert again.keys() == first.keys()
    for at, own in again.items():
        assert all(np.array_equal(own.columns[key], first[at].columns[key]) for key in own.columns)


def test_rows_that_do_not_differ_are_tied(filled: Path) -> None:
    board = open_board(filled)
    tables = acceptance_tables(board, sound_rows(filled))

    assert len(tables) == 2 * 3  # tasks; temperature 0, and 1 under both rules
    for table in tables:
        *_, last = table.rows
        assert last.submission.header.draft == "tiny--untrained"
        letters = [row.standing.letters if row.standing else "" for row in table.rows]
        assert letters == ["a", "a", "b"]


def test_rows_of_other_texts_stand_in_another_table(filled: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(filled, tmp_path / "board"))
    row = next((folder / "submissions/tiny-target/tiny--kd").iterdir())

    def other_machine(document: dict[str, Any]) -> None:
        for item in document["results"]:
            item["provenance"]["text_digests"] = {"0": "elsewhere", "1": "elsewhere"}

    tamper(row, other_machine)
    tables = acceptance_tables(open_board(folder), sound_rows(folder))

    assert sorted(len(table.rows) for table in tables) == [1] * 6 + [2] * 6
    assert {table.other_texts for table in tables} == {1}


def test_a_resubmission_replaces_the_row_and_keeps_its_series(
    filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(filled, tmp_path / "board"))
    row = next((folder / "submissions/tiny-target/tiny--kd").iterdir())
    shutil.copytree(row, row.with_name("copy"))

    def later(document: dict[str, Any]) -> None:
        document["manifest"]["submission"]["date"] = "2026-02-01"
        document["manifest"]["versions"]["torch"] = "2.14.0"

    new = tamper(row.with_name("copy"), later)
    table = acceptance_tables(open_board(folder), sound_rows(folder))[0]
    assert [item.submission.hash for item in table.rows].count(new.name) == 1
    assert len(table.rows) == 3

    done = run_command(capsys, "board", "build", folder, "--out", tmp_path / "site")
    assert done.code == 0, done
    page = (tmp_path / "site" / "rows" / f"{new.name}.html").read_text()
    assert f'<a href="{row.name}.html">' in page
    assert "<td" in (tmp_path / "site" / "index.html").read_text()


def test_speeds_of_two_machines_never_share_a_table(filled: Path) -> None:
    def fast(submission: Submission, machine: str) -> Submission:
        number = Number(2.0, 1.9, 2.1, 5, "speedup")
        first, *others = submission.results.results
        first = replace(first, numbers={**first.numbers, "speedup[engine=vllm,t=0]": number})
        results = replace(submission.results, results=(first, *others))
        header = submission.header.model_copy(update={"machine": machine})
        return Submission(header, results, submission.counts, submission.hash)

    kd, lk, untrained = sound_rows(filled)
    rows = [fast(kd, "H200"), fast(lk, "H200"), fast(untrained, "a laptop")]

    assert [len(table.rows) for table in speed_tables(rows)] == [2, 1]


def test_trust_needs_all_that_is_public_and_pinned(filled: Path) -> None:
    submission = sound_rows(filled)[0]
    assert trust_of(submission) == ("reproducible", [])

    [facts, *others] = submission.results.data
    private = {
        **facts,
        "models": {"target": {"reference": "mine", "source": "folder", "commit": None}},
    }
    own = {**facts, "source": {"test": "directory"}}
    for data, word in ((private, "the model mine"), (own, "the test rows are of directory")):
        changed = replace(submission.results, data=(data, *others))
        trust, reasons = trust_of(Submission(submission.header, changed, submission.counts))
        assert trust == "reported"
        assert reasons[0].startswith(word)


def test_the_command_line_checks_with_exit_codes_and_junit(
    filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(filled, tmp_path / "board"))
    good = run_command(capsys, "board", "check", folder, "--junit", tmp_path / "a.xml")
    assert (good.code, good.out.splitlines()[-1]) == (0, "3 submissions, 0 refused")
    assert 'tests="3" failures="0"' in (tmp_path / "a.xml").read_text()

    (folder / "submissions" / "x").write_text("")
    bad = run_command(capsys, "board", "check", folder, "--junit", tmp_path / "b.xml")
    assert bad.code == 1
    assert 'failures="1"' in (tmp_path / "b.xml").read_text()
    none = run_command(capsys, "board", "check", tmp_path)
    assert none.code == 2
    assert "board.toml" in none.err


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("HuggingFaceTB/SmolLM2-135M@main", "HuggingFaceTB--SmolLM2-135M"),
        ("/home/me/models/mine", "mine"),
        ("../../x..y", "x.y"),
        ("kd, 4 layers", "kd-4-layers"),
    ],
)
def test_names_become_folders(name: str, folder: str) -> None:
    assert folder_name(name) == folder


def test_a_name_without_letters_is_refused() -> None:
    with pytest.raises(UserError, match="--name"):
        folder_name("..")


def test_a_row_is_rerun_here_if_the_maintainers_run_agrees(filled: Path, tmp_path: Path) -> None:
    row = next(item for item in sound_rows(filled) if item.header.draft == "tiny--kd")
    for alpha, agrees in ((0.8, True), (0.4, False)):
        board_run(tmp_path / f"{alpha}", {"kd": [alpha]})
        board = make_board(tmp_path / f"board {alpha}")
        list(submit_run(tmp_path / f"{alpha}", open_board(board)))
        [again] = sound_rows(board)

        assert (trust_of(row, [again])[0] == "rerun here") is agrees
        assert (disagreements(row, again) == []) is agrees


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("pairs/0/trust_remote_code", True, "code that comes with a model"),
        ("evaluation/judge", {"model": "m"}, "asks a judge"),
        ("pairs/0/draft", {"model": "~/mine"}, "reads '~/mine', which would be of this machine"),
        ("rows", {"gsm8k": {"file": "/etc/passwd"}}, "reads '/etc/passwd'"),
        ("pairs/0/draft", "x", "cannot be read"),
        ("by_task", ["x"], "cannot be read"),
    ],
)
def test_a_recipe_that_runs_code_of_others_is_not_rerun(
    filled: Path, tmp_path: Path, place: str, value: Any, words: str
) -> None:
    folder = Path(shutil.copytree(filled, tmp_path / "board"))
    row = next((folder / "submissions/tiny-target/tiny--kd").iterdir())

    def change(document: dict[str, Any]) -> None:
        *path, last = place.split("/")
        inside: Any = document["recipe"]
        for key in path:
            inside = inside[int(key) if isinstance(inside, list) else key]
        inside[last] = value

    new = tamper(row, change)
    with pytest.raises(UserError, match=words):
        rerun_row(open_board(folder), new.name, RunOptions(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_pages_escape_what_a_submission_says(filled: Path) -> None:
    """Whatever the checks let through."""
    first, *others = sound_rows(filled)
    rows = [
        replace(row, cell=replace(row.cell, task=HOSTILE), numbers={f"speedup[{HOSTILE}]": NUMBER})
        for row in first.results.results
    ]
    data = [{**facts, "task": HOSTILE, "target": HOSTILE} for facts in first.results.data[:1]]
    manifest = {
        **first.results.manifest,
        "versions": {"torch": HOSTILE},
        "git": {"commit": HOSTILE},
    }
    results = replace(
        first.results,
        results=tuple(rows[:1]),
        data=tuple(data),
        manifest=manifest,
        recipe={HOSTILE: HOSTILE},
        findings=(Finding("note", HOSTILE, HOSTILE),),
    )
    names = {"target": HOSTILE, "draft": HOSTILE, "date": HOSTILE, "machine": HOSTILE}
    counts = {at: own for at, own in first.counts.items() if at.cell == 0}
    hostile = Submission(first.header.model_copy(update=names), results, counts, first.hash)
    board = replace(open_board(filled), title=HOSTILE)
    site = replace(find_registered("reports", "board"), board=board, submissions=[hostile, *others])

    pages = {name: text for name, text in site.files() if name.endswith(".html")}

    assert {"index.html", "speeds.html"} < pages.keys()
    assert len([name for name in pages if name.startswith("rows/")]) == 3
    assert all("<" not in name and ".." not in name for name in pages)
    for text in pages.values():
        assert isinstance(text, str)
        assert "<script>alert" not in text
        assert "\x1b" not in text


def test_the_answer_names_ties_sole_firsts_and_how_far_ahead(filled: Path, tmp_path: Path) -> None:
    board = open_board(filled)
    tied, sampled = answers(acceptance_tables(board, sound_rows(filled)))
    assert (tied.temperature, sampled.temperature) == (0.0, 1.0)
    assert verdict(sampled) == (
        "At temperature 1: tiny--kd and tiny--lk are tied on GSM8K and MBPP."
    )
    assert [len(names) for names in sampled.first] == [2, 2]

    without_lk = [row for row in sound_rows(filled) if row.header.draft != "tiny--lk"]
    _, sole = answers(acceptance_tables(board, without_lk))
    words = r"tiny--kd is first on GSM8K and MBPP, ahead of the next by (\d\.\d\d) \[.*\] tokens"
    found = re.search(words, verdict(sole))
    assert found
    gaps = [
        table.rows[0].efficiencies[4].value - table.rows[1].efficiencies[4].value
        for table in sole.tables
    ]
    assert float(found[1]) == pytest.approx(min(gaps), abs=0.006)
    assert list(sole.rows) == ["tiny--kd", "tiny--untrained"]


def test_a_draft_of_one_task_stands_where_its_share_of_the_first_puts_it(filled: Path) -> None:
    """Not below every draft of two tasks, the worst of which is far behind."""
    first, second = (
        table
        for table in acceptance_tables(open_board(filled), sound_rows(filled))
        if table.terms.temperature == 0 and table.terms.verification == "standard"
    )
    one_task = [row for row in second.rows if row.submission.header.draft != "tiny--lk"]
    [answer] = answers([first, replace(second, rows=one_task)])

    assert list(answer.rows)[-1] == "tiny--untrained"
    assert answer.rows["tiny--lk"][1] is None


def test_a_speed_is_that_of_all_seeds(filled: Path) -> None:
    key, one = "speedup[engine=vllm,t=0]", Number(1.5, 1.4, 1.6, 5, "speedup")
    row = sound_rows(filled)[0]
    header = row.header.model_copy(update={"machine": "a machine"})
    cells = [replace(it.cell, seed=seed) for it in row.results.results for seed in (0, 1)]
    speeds = [{key: replace(one, value=(1.0, 4.0)[cell.seed])} for cell in cells]
    rows = [
        replace(row.results.results[0], cell=cell, numbers=numbers)
        for cell, numbers in zip(cells, speeds, strict=True)
    ]
    two_seeds = replace(row, header=header, results=replace(row.results, results=tuple(rows)))

    found = [number for _, _, number in speedups(two_seeds)]
    assert [(number.value, number.n) for number in found] == [(pytest.approx(2.0), 2)] * 2
    alone = replace(two_seeds, results=replace(row.results, results=tuple(rows[::2])))
    assert [number for _, _, number in speedups(alone)] == [replace(one, value=1.0)] * 2


def test_letters_beyond_z_are_letters_of_their_own(filled: Path) -> None:
    table = acceptance_tables(open_board(filled), sound_rows(filled))[0]
    letters = ["z", "(aa)", "(ab)"]
    rows = [
        replace(row, standing=replace(row.standing, letters=mark))
        for row, mark in zip(table.rows, letters, strict=True)
        if row.standing
    ]
    [answer] = answers([replace(table, rows=rows)])
    assert answer.first == [[rows[0].submission.header.draft]]
