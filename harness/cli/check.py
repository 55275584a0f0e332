"""Look before, and look again: data check, doctor, verify."""

from typing import Annotated

import typer

from draftmark.cli.options import Data, Ran, StoreAt, show
from draftmark.pipeline.publish import data_folder


def data_check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Tasks [default: all that have rows there].")
    ] = None,
    data: Data = None,
) -> None:
    """Judge every row of every split: malformed, left out, repeated, shared by splits.

    Of the data directory, if one is named, else of the project's own samples. Exit code 1 if a row
    is malformed.
    """
    from draftmark.data.check import check_all

    bad = 0
    for result in check_all(names, data_folder(data)):
        for line in result.lines():
            typer.echo(line)
        bad += result.malformed
    if bad:
        raise typer.Exit(1)


def doctor(data: Data = None) -> None:
    """Show what this machine has: versions, hardware, models, data, network."""
    from draftmark.cli.doctor import lines

    for line in lines(data_folder(data)):
        typer.echo(line)


def verify(
    directory: Ran,
    prompts: Annotated[int, typer.Option(min=2, help="How many test prompts are decoded.")] = 8,
    store: StoreAt = None,
    data: Data = None,
) -> None:
    """Check that the engine is lossless with each draft of a run; exit code 1 if it is not."""
    from draftmark.pipeline import experiment, verify
    from draftmark.pipeline.recipe_files import stored_recipe
    from draftmark.pipeline.render import render
    from draftmark.progress import Progress
    from draftmark.store.run_folder import load_results
    from draftmark.store.store import Store

    results, progress = load_results(directory), Progress()
    recipe = stored_recipe(results.recipe, directory)
    prepared = experiment.plan(recipe, progress, data=data_folder(data))
    kept = Store(store or directory.parent / "store")
    found = verify.verify(prepared, kept, progress, prompts)
    verify.save_checks(found, prepared, directory)
    show(render(results, directory, ["lossless"]))
    if verify.failed_cells(found):
        raise typer.Exit(1)
