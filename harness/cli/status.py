"""Follow a run from another terminal: status."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from draftmark.cli.options import StoreAt

EVERY_S = 2.0


def status(
    run: Annotated[
        Path | None,
        typer.Argument(help="A run's folder, or one of runs [default: the latest in results]."),
    ] = None,
    store: StoreAt = None,
    once: Annotated[bool, typer.Option("--once", help="Say it once; do not follow.")] = False,
) -> None:
    """Show what of a run is done, what runs and what failed; on a terminal, until it is over."""
    from draftmark.pipeline.status import latest_run, run_status, status_lines

    folder = run or Path("results")
    several = run is None or (run / "store").is_dir()
    kept = store or (folder if several else folder.parent) / "store"
    name = latest_run(kept) if several else folder.name
    follow = sys.stdout.isatty() and not once
    while True:
        now = run_status(kept, name)
        if follow:
            Console().clear()
        typer.echo("\n".join(status_lines(now)))
        if not follow or now.end is not None:
            return
        time.sleep(EVERY_S)
