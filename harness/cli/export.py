"""Export drafts."""

from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.options import Data, RunFolder, StoreAt, reopen_run
from draftmark.cli.terminal import echo
from draftmark.pipeline.publish import writable_folder


def export(
    directory: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the exported heads.")],
    store: StoreAt = None,
    data: Data = None,
) -> None:
    """Write the feature heads of a run in every layout that vLLM can load."""
    from draftmark.pipeline.export_heads import export_heads

    _, plan, kept, progress = reopen_run(directory, store, data)
    for path in export_heads(plan, kept, writable_folder(out), progress):
        echo(f"Written: {path}")
