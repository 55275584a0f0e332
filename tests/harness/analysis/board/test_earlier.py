"""Submissions beside earlier ones: edited copies, names, other drafts, and which came first."""

import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from board_runs import board_run, claim_anew, make_board, row_of, sound_rows, tamper

from draftmark.analysis.board.board import open_board
from draftmark.analysis.board.check import Checked, Fault, check_board
from draftmark.analysis.board.submit import submit_run
from draftmark.errors import UserError
from draftmark.registry import find_registered

Columns = dict[str, list[Any]]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    board_run(folder / "run", {"kd": [0.8], "lk": [0.7]})
    board = make_board(folder / "board")
    list(submit_run(folder / "run", open_board(board), date="2026-01-01"))
    return board


@pytest.fixture
def board(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "board"))


def refused(board: Path) -> list[Checked]:
    return [item for item in check_board(open_board(board)) if item.faults]


def copy_as(row: Path, name: str, date: str = "2026-02-01", method: str | None = None) -> Path:
    """Submit a row again under another name, with all hashes made anew."""
    new = Path(shutil.copytree(row, row.parent.with_name(name) / "new"))

    def rename(document: dict[str, Any]) -> None:
        header = document["manifest"]["submission"]
        header["draft"], header["date"] = name, date
        for item in document["results"]:
            item["cell"]["method"] = method or item["cell"]["method"]

    return tamper(new, rename)


def accept_more(prompts: int) -> Callable[[Columns], None]:
    """Return an edit that accepts a bit more of the first prompts at temperature 1, and adds up."""

    def edit(columns: Columns) -> None:
        for place, prompt in enumerate(columns["prompt"]):
            if prompt < prompts and columns["temperature"][place] == 1:
                columns["accepted"][place] += 0.05
                columns["tested"][place] += 0.05
                columns["drafted"][place] += 0.05
                columns["passes"][place] -= 0.05

    return edit


def test_an_edited_copy_under_another_name_is_named_for_what_it_is(board: Path) -> None:
    """Counts of some prompts, numbers and hashes are made anew; the other prompts betray it."""
    new = tamper(copy_as(row_of(board), "mine"), counts=accept_more(prompts=3))
    new = claim_anew(new)

    [found] = refused(board)
    assert found.path == new.relative_to(board).as_posix()
    [fault] = found.faults
    assert fault.check == "duplicates"
    assert "10 of 16 counts per prompt are those of submissions/tiny-target/tiny--kd/" in fault.text


def test_a_copy_with_every_count_edited_passes_as_the_docs_say(board: Path) -> None:
    claim_anew(tamper(copy_as(row_of(board), "mine"), counts=accept_more(prompts=99)))

    assert refused(board) == []


def test_names_that_differ_by_case_alone_are_refused(board: Path) -> None:
    copy_as(row_of(board, "tiny--lk"), "Tiny--KD")

    [found] = refused(board)
    assert any(it.check == "names" and "case alone" in it.text for it in found.faults)


def test_targets_that_differ_by_case_alone_are_refused(board: Path) -> None:
    """Of a draft that no other row is of: a folder is one with the other's on some machines."""
    row = row_of(board, "tiny--lk")
    new = Path(shutil.copytree(row, board / "submissions" / "Tiny-Target" / "mine" / "new"))

    def rename(document: dict[str, Any]) -> None:
        header = document["manifest"]["submission"]
        header["target"], header["draft"], header["date"] = "Tiny-Target", "mine", "2026-02-01"
        document["recipe"]["pairs"][0]["target"] = "Tiny-Target"
        for facts in document["data"]:
            facts["target"] = "Tiny-Target"

    tamper(new, rename)
    [found] = refused(board)
    [*names, _] = found.faults
    assert [(it.check, it.text) for it in names] == [
        ("names", "Tiny-Target and tiny-target differ by upper and lower case alone")
    ]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("recipe/training/learning_rate", 0.5, "learning_rate; give it another --name"),
        ("recipe/pairs/0/draft", {"pruned": [1, 2], "head": "copied"}, "draft; give"),
        ("data/0/digest/train", "1" * 64, "train rows of gsm8k; give"),
    ],
)
def test_another_draft_does_not_take_an_earlier_name(
    board: Path, tmp_path: Path, place: str, value: Any, words: str
) -> None:
    board_run(tmp_path / "run", {"kd": [0.6]})
    [new] = submit_run(tmp_path / "run", open_board(board), date="2026-02-01")
    assert refused(board) == []

    def change(document: dict[str, Any]) -> None:
        *path, last = place.split("/")
        inside: Any = document
        for key in path:
            inside = inside[int(key) if isinstance(inside, list) else key]
        inside[last] = value
        texts = [it for row in document["results"] for it in row["provenance"]["draft_texts"]]
        for item in texts if last == "train" else ():
            item["rows"] = item["rows"].replace("train rows of gsm8k", value)
        for row in document["results"]:
            entry = {**row["provenance"]["entries"][0], "stage": "draft"}
            row["provenance"]["entries"].append(entry)

    for row in sound_rows(board):
        tamper(board / row.place, change if row.place == new else _with_a_draft)
    [found] = refused(board)
    assert [fault.check for fault in found.faults] == ["drafts"]
    assert words in found.faults[0].text


def _with_a_draft(document: dict[str, Any]) -> None:
    for row in document["results"]:
        entries = row["provenance"]["entries"]
        entries.append({**entries[0], "stage": "draft"})


def test_a_day_to_come_is_refused(board: Path) -> None:
    day = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()

    def later(document: dict[str, Any]) -> None:
        document["manifest"]["submission"]["date"] = day

    tamper(row_of(board), later)
    [found] = refused(board)
    assert found.faults == (Fault("date", f"it was submitted on {day}, a day to come"),)


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True)


@pytest.mark.parametrize("within", [".", "reports/board"])
def test_the_repository_decides_whose_row_is_the_original(
    honest: Path, tmp_path: Path, within: str
) -> None:
    """A copy that is dated earlier, on a branch whose commits are dated earlier too."""
    root = tmp_path / "repository"
    board = root / within
    shutil.copytree(honest, board)
    git_ = ("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "a board")
    for words in (*git_, ("checkout", "-qb", "mine")):
        git(root, *words)
    copy = copy_as(row_of(board), "mine", date="2020-01-01")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "mine", "--date", "2020-01-01T00:00:00Z")
    git(root, "checkout", "-q", "main")
    (root / "other").write_text("")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "another")
    git(root, "merge", "-q", "--no-ff", "-m", "merged", "mine")

    [found] = refused(board)
    assert found.path == copy.relative_to(board).as_posix()
    assert found.faults[0].check == "duplicates"

    shutil.rmtree(root / ".git")  # without a repository the dates decide
    [found] = refused(board)
    assert found.path == row_of(board).relative_to(board).as_posix()


def test_a_new_row_is_later_than_all_rows_of_the_board(board: Path, tmp_path: Path) -> None:
    board_run(tmp_path / "run", {"mine": [0.8]})  # as kd's

    with pytest.raises(UserError, match=r"tiny--mine.*duplicates: its counts are those of"):
        list(submit_run(tmp_path / "run", open_board(board), date="2020-01-01"))


@pytest.mark.parametrize("seed", range(12))
def test_no_odd_document_stops_a_check_or_a_build(board: Path, seed: int) -> None:
    """A part of the results is deleted, or replaced by something of another kind."""
    rng = random.Random(seed)

    def spoil(document: dict[str, Any]) -> None:
        inside: Any = document
        while True:
            keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
            key = rng.choice(keys)
            if rng.random() < 0.3 or not isinstance(inside[key], dict | list) or not inside[key]:
                break
            inside = inside[key]
        inside[key] = rng.choice([None, 0, -1, 1e300, "", "<b>", [], {}, [1], {"a": 1}])

    tamper(row_of(board), spoil)
    found = check_board(open_board(board))
    rows = [item.submission for item in found if item.submission and not item.faults]
    report = find_registered("reports", "board")
    site = replace(report, board=open_board(board), submissions=rows, reruns=rows)

    assert "index.html" in dict(site.files())
