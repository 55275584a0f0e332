"""Take drafts elsewhere: export."""

from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.options import Data, Ran, StoreAt
from draftmark.pipeline.publish import data_folder, writable_folder


def export(
    directory: Ran,
    out: Annotated[Path, typer.Option("--out", help="Folder for the exported heads.")],
    store: StoreAt = None,
    data: Data = None,
) -> None:
    """Write the feature heads of a run as vLLM loads them, in every layout there is."""
    from draftmark.pipeline import experiment
    from draftmark.pipeline.export_heads import export_heads
    from draftmark.pipeline.recipe_files import stored_recipe
    from draftmark.progress import Progress
    from draftmark.store.run_folder import load_results
    from draftmark.store.store import Store

    results, progress = load_results(directory), Progress()
    recipe = stored_recipe(results.recipe, directory)
    prepared = experiment.plan(recipe, progress, data=data_folder(data))
    kept = Store(store or directory.parent / "store")
    for made in export_heads(prepared, kept, writable_folder(out), progress):
        typer.echo(f"Written: {made}")
