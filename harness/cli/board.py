"""Boards that people submit to: submit, and board new, check, build, rerun."""

from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.options import Data, Out, RunOrCounts, StoreAt, split_names
from draftmark.cli.terminal import echo, echo_lines
from draftmark.errors import UserError
from draftmark.pipeline.publish import writable_folder
from draftmark.text import counted

BoardFolder = Annotated[Path, typer.Argument(help="A board: a folder with board.toml.")]


def submit(
    run: RunOrCounts,
    to: Annotated[Path, typer.Option("--to", help="The board, such as a clone of its repository.")],
    methods: Annotated[
        str | None, typer.Option(help="Methods to submit, like kd,csd [default: all].")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The draft's name on the board [default: PAIR--METHOD].")
    ] = None,
) -> None:
    """Pack a run's rows for a board, and check them as the board will.

    A submission has results, counts per prompt, recipe and manifest, and no text of prompts.
    """
    from draftmark.analysis.board.board import open_board
    from draftmark.analysis.board.submit import submit_run
    from draftmark.analysis.published_counts import opened_run

    board = open_board(to)
    with opened_run(run) as directory:
        for place in submit_run(directory, board, split_names(methods), name):
            echo(f"Written: {to / place}")


def check(
    folder: BoardFolder,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML into this file too.")] = None,
) -> None:
    """Check every submission of a board, and every rerun: one line each; exit code 1 if refused."""
    from draftmark.analysis.board.board import open_board
    from draftmark.analysis.board.check import check_board, check_reruns

    board = open_board(folder)
    submissions, reruns = check_board(board), check_reruns(board)
    found = [*submissions, *reruns]
    echo_lines(line for item in found for line in item.lines())
    refused = sum(bool(item.faults) for item in found)
    again = f" and {len(reruns)} rerun{'s' * (len(reruns) > 1)}" if reruns else ""
    echo(f"{counted(len(submissions), 'submission')}{again}, {refused} refused")
    if junit:
        from draftmark.store.files import write_atomically
        from draftmark.store.junit import junit_document

        document = junit_document("draftmark board", [item.test_case() for item in found])
        write_atomically(writable_folder(junit.parent) / junit.name, document.encode())
    raise typer.Exit(1 if refused else 0)


def build(
    folder: BoardFolder,
    out: Annotated[Path, typer.Option(help="Folder for the site, replaced whole.")] = Path("site"),
) -> None:
    """Write the site of a board's sound submissions; a refused one stands nowhere on it."""
    from dataclasses import replace

    from draftmark import registry
    from draftmark.analysis.board.board import open_board
    from draftmark.analysis.board.check import check_board, check_reruns
    from draftmark.store.published_folder import publish_folder

    board = open_board(folder)
    found = check_board(board)
    sound = [item.submission for item in found if item.submission and not item.faults]
    refused = len(found) - len(sound)
    again = [item.submission for item in check_reruns(board) if not item.faults]
    reruns = [item for item in again if item]
    report = registry.find_registered("reports", "board")
    site = replace(report, board=board, submissions=sound, reruns=reruns, refused=refused)
    written = publish_folder(out, site.files())
    echo(f"Written: {out / 'index.html'} and {len(written) - 1} more files")
    if refused:
        echo(f"{counted(refused, 'submission')} refused: draftmark board check {folder}")


def new(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder, such as a repository.")],
) -> None:
    """Write the template of a board: settings, the rules of submission, a GitHub workflow."""
    from draftmark.analysis.board.board import template_files
    from draftmark.store.files import write_atomically

    if folder.exists() and any(path.name != ".git" for path in folder.iterdir()):
        raise UserError(f"{folder} holds files; name a new folder.")
    for name, content in template_files().items():
        place = writable_folder((folder / name).parent)
        write_atomically(place / Path(name).name, content)
        echo(f"Written: {folder / name}")


def freeze(
    name: Annotated[str, typer.Argument(help="The suite's name, such as our-suite-1.")],
    tasks: Annotated[str, typer.Option(help="Tasks, like gsm8k,mbpp.")],
    out: Annotated[Path, typer.Option("--out", help="The file, such as BOARD/suites/NAME.json.")],
    rows: Annotated[int, typer.Option(min=2, help="The first test rows of each task.")] = 80,
    source: Annotated[str, typer.Option(help="hub, directory or samples.")] = "hub",
    data: Data = None,
) -> None:
    """Freeze test rows of tasks as a suite, which board.toml then names.

    A suite never changes once there are rows of it: other prompts are another suite.
    """
    from draftmark.analysis.board.suite import freeze_tasks, suite_text
    from draftmark.store.files import write_atomically

    if out.exists():
        raise UserError(f"{out} is there, and a suite never changes; name another file.")
    suite = freeze_tasks(name, split_names(tasks) or [], rows, source, data)
    write_atomically(writable_folder(out.parent) / out.name, suite_text(suite).encode())
    echo(
        f"Written: {out}, {counted(sum(len(it.prompts) for it in suite.tasks.values()), 'prompt')}"
    )


def rerun(
    folder: BoardFolder,
    row: Annotated[str, typer.Argument(help="The hash of a submission, the name of its folder.")],
    out: Out = Path("results"),
    store: StoreAt = None,
    data: Data = None,
) -> None:
    """Run a row's recipe here, and keep the run: the row is "rerun here" if its numbers agree.

    Exit code 1 if a number of the row is not within the interval of this run. Recipes that run code
    of a model's repository, or ask a judge, are refused.
    """
    from draftmark.analysis.board.board import open_board
    from draftmark.analysis.board.tables import disagreements
    from draftmark.pipeline.publish import RunOptions
    from draftmark.pipeline.rerun import rerun_row

    submission, again = rerun_row(open_board(folder), row, RunOptions(out, store, data))
    echo(f"Written: {folder / 'reruns' / again.place}")
    apart = disagreements(submission, again)
    echo_lines(f"not within this run's interval: {name}" for name in apart)
    echo(f"{'Disagrees' if apart else 'Agrees'}: {submission.place}")
    raise typer.Exit(1 if apart else 0)
