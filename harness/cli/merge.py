"""Join runs that were made apart."""

from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.options import Full
from draftmark.cli.terminal import echo, echo_written


def merge(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of runs, folders of such folders, or counts.parquet files."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the merged run.")],
    against: Annotated[
        str | None,
        typer.Option(help="The method to compare with [default: the first of the runs]."),
    ] = None,
    full: Full = False,
) -> None:
    """Join runs of the same target, texts and settings, made anywhere, in one run's folder."""
    from draftmark.pipeline.merged_run import write_merged_run

    results = write_merged_run(runs, out, against)
    number = len(results.manifest["merged"]["runs"])
    cells = sum(not row.failure for row in results.results)
    shown = "leaderboard.md" if full else "answer.txt"
    echo((out / shown).read_text(encoding="utf-8").removesuffix("\n"))
    echo(f"Merged: {cells} cells of {number} {'runs' if number > 1 else 'run'}")
    echo_written(out, ["leaderboard.md", "results.json"])
