"""Take drafts elsewhere: export."""

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import Data, Ran, StoreAt, folder, writable


def export(
    directory: Ran,
    out: Annotated[Path, typer.Option("--out", help="Folder for the exported heads.")],
    store: StoreAt = None,
    data: Data = None,
) -> None:
    """Write the feature heads of a run as vLLM loads them, in every layout there is."""
    from harness import experiment
    from harness.heads.exporting import export_all
    from harness.progress import Progress
    from harness.settings.recipes import stored_recipe
    from harness.storage.results import load_results
    from harness.store import Store

    results, progress = load_results(directory), Progress()
    recipe = stored_recipe(results.recipe, directory)
    prepared = experiment.plan(recipe, progress, data=folder(data))
    kept = Store(store or directory.parent / "store")
    for made in export_all(prepared, kept, writable(out), progress):
        typer.echo(f"Written: {made}")
