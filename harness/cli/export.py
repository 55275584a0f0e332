"""Export drafts."""

from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.options import Data, RunFolder, StoreAt, reopen_run
from draftmark.cli.terminal import echo
from draftmark.pipeline.publish import writable_folder


def export(
    directory: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the exported drafts.")],
    store: StoreAt = None,
    data: Data = None,
) -> None:
    """Write a run's drafts: heads in every layout that vLLM can load, language models as they are.

    `What to paste` in a run's leaderboard names their folders.
    """
    from draftmark.pipeline.export_drafts import export_drafts

    _, plan, kept, progress = reopen_run(directory, store, data)
    for path in export_drafts(plan, kept, writable_folder(out), progress):
        echo(f"Written: {path}")
