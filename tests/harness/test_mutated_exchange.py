"""Files by which people exchange results, mutated: commands end in a number or in a sentence.

They are published counts, runs that were merged or restored, boards with their submissions, runs of
servers, and studies. `DRAFTMARK_MUTATIONS=1000` sets the number of mutations of each file.
"""

import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
from board_runs import board_run, make_board, rehash
from model_server import Server, serve
from mutated_files import Command, Format, distinct_commands, mutate_file, run_in
from mutations import (
    mutated_bytes,
    mutated_counts,
    mutated_json,
    mutated_parquet,
    mutated_toml,
)
from server_replies import vllm

from draftmark.analysis.board.submission import content_hash
from draftmark.analysis.published_counts import COUNTS
from draftmark.cli import main
from draftmark.store.run_folder import SUMS

JSON, PARQUET, TOML = mutated_json, mutated_parquet, mutated_toml
PLAIN = partial(mutated_parquet, compression="none")  # a board takes no other counts
SUBMISSION = "submissions/*/*/*"


def _drop_hashes(folder: Path, file: Path) -> None:
    """Remove the hashes of the run that a file is of."""
    next(parent / SUMS for parent in file.parents if (parent / SUMS).exists()).unlink()


def _rehash(folder: Path, file: Path) -> None:
    """Give a submission the hashes and the name of what it holds now."""
    rehash(next(parent for parent in file.parents if (parent / SUMS).exists()))


def _rename(folder: Path, file: Path) -> None:
    """Give a submission the name that its mutated checksums ask for."""
    file.parent.rename(file.parent.with_name(content_hash(file.parent)))


def _reports(run: str, *names: str) -> list[Command]:
    return [("report", run, name) for name in names]


MERGE = [("merge", "a", "b", "--out", "out"), ("merge", "b", "a", "--out", "out")]
SUBMIT = ("submit", "b", "--to", "board")
BOARD = (
    ("board", "check", "board"),
    ("board", "build", "board", "--out", "site"),
    SUBMIT,
)
ROWS = (*BOARD[:2], ("trend", "board/submissions/tiny-target/tiny--kd", "--out", "out"))
SERVED = (
    *_reports("served", "leaderboard", "speed", "reconcile", "site", "tables", "export", "answer"),
    ("compare", "served", "other"),
    ("compare", "other", "served"),
    ("gate", "served", "--against", "served.json"),
    ("power", "served"),
)
OF_COUNTS = _reports("restored", "leaderboard", "tables", "counts", "figures", "what_if", "site")
FORMATS = {
    "run to merge": Format(
        "b/results.json",
        JSON,
        (*MERGE, SUBMIT, *_reports("b", "counts")),
        _drop_hashes,
    ),
    "tables to merge": Format(
        "b/records/00/tables-t1.parquet",
        PARQUET,
        (*MERGE, SUBMIT, *_reports("b", "counts")),
        _drop_hashes,
    ),
    "published counts": Format(
        f"published/{COUNTS}",
        mutated_counts,
        (
            ("merge", f"published/{COUNTS}", "--out", "out"),
            ("merge", f"published/{COUNTS}", "b", "--out", "out"),
        ),
    ),
    "restored counts": Format(
        f"restored/records/00/{COUNTS}",
        mutated_counts,
        (
            *OF_COUNTS,
            ("gate", "restored", "--against", "restored.json"),
            ("power", "restored"),
            ("compare", "restored", "b"),
            ("merge", "restored", "b", "--out", "out"),
        ),
        _drop_hashes,
    ),
    "merged run": Format(
        "merged/results.json",
        JSON,
        (
            ("merge", "merged", "--out", "out"),
            *_reports("merged", "leaderboard", "tables", "answer", "site", "counts"),
            ("compare", "a", "merged"),
            ("gate", "merged", "--against", "f.json"),
        ),
        _drop_hashes,
    ),
    "settings of a board": Format("board/board.toml", TOML, BOARD),
    "suite": Format("board/small-suite.json", JSON, BOARD),
    "submission": Format(f"board/{SUBMISSION}/results.json", JSON, ROWS, _rehash),
    "counts of a submission": Format(f"board/{SUBMISSION}/records/{COUNTS}", PLAIN, ROWS, _rehash),
    "hashes of a submission": Format(f"board/{SUBMISSION}/{SUMS}", mutated_bytes, ROWS, _rename),
    "rerun of a row": Format(f"board/reruns/{SUBMISSION}/results.json", JSON, BOARD[1:2], _rehash),
    "results of a server": Format("served/results.json", JSON, SERVED, _drop_hashes),
    "requests": Format("served/records/00/requests.parquet", PARQUET, SERVED, _drop_hashes),
    "timed requests": Format("served/records/00/runs.parquet", PARQUET, SERVED, _drop_hashes),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, what was made of them, a board, and runs of two servers."""
    folder = tmp_path_factory.mktemp("base")
    board_run(folder / "a", {"kd": (0.6, 0.62)})
    board_run(folder / "b", {"lk": (0.7, 0.71)})
    make_board(folder / "board")
    (folder / "published").mkdir()
    _do(folder, "report", "a", "counts")
    shutil.move(folder / "a" / COUNTS, folder / "published" / COUNTS)
    _do(folder, "merge", f"published/{COUNTS}", "--out", "restored")
    _do(folder, "merge", "a", "b", "--out", "merged")
    _do(folder, "bless", "merged", "f.json", "--reason", "first")
    _do(folder, "bless", "restored", "restored.json", "--reason", "first")
    _do(folder, "submit", "a", "--to", "board")
    shutil.copytree(folder / "board/submissions", folder / "board/reruns/submissions")
    for name in ("served", "other"):
        with serve(Server(drafts=0)) as plain, serve(vllm()) as server:
            options = ("--prompts", "4", "--blocks", "2", "--model", "tiny", "--out", name)
            _do(folder, "measure-server", server.url, "--against", plain.url, *options)
    _do(folder, "bless", "served", "served.json", "--reason", "first")
    return folder


def _do(folder: Path, *command: str) -> None:
    """Run a command that must succeed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["draftmark", *command])
        with pytest.raises(SystemExit) as end:
            main.main()
        assert not end.value.code, command


@pytest.fixture(scope="module")
def used(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder, which commands may change."""
    return shutil.copytree(base, tmp_path_factory.mktemp("used") / "here")


@pytest.mark.parametrize("command", distinct_commands(FORMATS.values()), ids=" ".join)
def test_every_command_reads_the_files_as_they_were_written(
    used: Path, capsys: pytest.CaptureFixture[str], command: Command
) -> None:
    outcome = run_in(used, capsys, command)
    assert outcome.code == 0, outcome


@pytest.mark.parametrize("name", FORMATS)
def test_a_mutated_file_ends_in_a_number_or_a_sentence(
    base: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    mutate_file(FORMATS[name], base, tmp_path_factory, capsys)
