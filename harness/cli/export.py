"""Export drafts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from draftmark.analysis.handover import FOLDER
from draftmark.cli.options import Data, RunFolder, StoreAt, reopen_run
from draftmark.cli.terminal import echo, echo_lines
from draftmark.pipeline.publish import writable_folder


def export(
    directory: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the exported drafts.")],
    store: StoreAt = None,
    data: Data = None,
) -> None:
    """Write a run's drafts: heads in every layout that vLLM can load, language models as they are.

    What to paste into a server follows: the commands of the leaderboard, which name these folders.
    """
    from draftmark import registry
    from draftmark.pipeline.export_drafts import export_drafts

    results, plan, kept, progress = reopen_run(directory, store, data)
    for path in export_drafts(plan, kept, writable_folder(out), progress):
        echo(f"Written: {path}")
    answer = registry.find_registered("reports", "answer")
    echo_lines(_without_export(answer.paste(results, directory), out))


def _without_export(paste: str, out: Path) -> Iterator[str]:
    """Yield the lines to paste but for the export, which is done; they name its usual folder."""
    lines = [line for line in paste.splitlines() if not line.startswith("draftmark export ")]
    if lines:
        yield from ("", f"# {FOLDER} stands for {out}") if str(out) != FOLDER else ("",)
    yield from lines
