"""Follow a run from another terminal."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.options import AsJson, StoreAt
from draftmark.cli.terminal import echo_json, echo_lines

EVERY_S = 2.0


def status(
    run: Annotated[
        Path | None,
        typer.Argument(help="A run's folder, or a folder of runs [default: the latest run]."),
    ] = None,
    store: StoreAt = None,
    once: Annotated[bool, typer.Option("--once", help="Print the status once and exit.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a run's done, running and failed stages; on a terminal, refresh until the run ends."""
    from rich.console import Console

    from draftmark.pipeline.status import latest_run, run_status, status_document, status_lines

    folder = run or Path("results")
    several = run is None or (run / "store").is_dir()
    root = store or (folder if several else folder.parent) / "store"
    name = latest_run(root) if several else folder.name
    if as_json:
        echo_json(status_document(run_status(root, name)))
        return
    follow = sys.stdout.isatty() and not once
    while True:
        now = run_status(root, name)
        if follow:
            Console().clear()
        echo_lines(status_lines(now))
        if not follow or now.end is not None:
            return
        time.sleep(EVERY_S)
