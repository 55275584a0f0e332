"""Run experiments, and see before what they would do: run, plan, list, fetch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from draftmark.cli.options import (
    Cluster,
    Data,
    GpuName,
    Out,
    Recipe,
    StoreAt,
    Tasks,
    Unsafe,
    Utilisation,
    listed,
)
from draftmark.pipeline.publish import folder

if TYPE_CHECKING:
    from draftmark.config.recipe import Recipe as Experiment
    from draftmark.pipeline.publish import Places


def run(
    recipe: Recipe,
    out: Out = Path("results"),
    store: StoreAt = None,
    data: Data = None,
    tasks: Tasks = None,
    unsafe_code: Unsafe = False,
    cluster: Cluster = None,
) -> None:
    """Run a recipe, or a suite's one after the other: train drafts, measure, write leaderboards."""
    from draftmark.pipeline.publish import Places
    from draftmark.pipeline.recipe_files import load_recipe, members

    if cluster:
        from draftmark.pipeline.cluster.executor import require

        require()
    loaded = {name: load_recipe(name, tasks=listed(tasks)) for name in members(recipe)}
    places = Places(out, store, data, unsafe_code, cluster)
    fit = [_run(one, Path(name).stem, places) for name, one in loaded.items()]
    if not all(fit):
        raise typer.Exit(1)


def _run(recipe: "Experiment", name: str, places: "Places") -> bool:
    """Run a recipe, show its leaderboard; say whether no cell failed and no check found fault."""
    from draftmark.pipeline.publish import publish
    from draftmark.pipeline.render import render

    results, directory = publish(recipe, name, places)
    files = render(results, directory, ["leaderboard"])
    typer.echo((directory / "leaderboard.md").read_text(encoding="utf-8"))
    for file in [*files, directory / "results.json"]:
        typer.echo(f"Written: {file}")
    errors = [finding for finding in results.findings if finding.severity == "error"]
    for error in errors:
        typer.echo(f"draftmark: {error.subject}: {error.text}", err=True)
    return not (errors or any(row.failure or row.speed_failures for row in results.results))


def plan(
    recipe: Recipe,
    out: Out = Path("results"),
    store: StoreAt = None,
    data: Data = None,
    tasks: Tasks = None,
    gpu: GpuName = "h100",
    utilisation: Utilisation = 0.3,
    gpus: Annotated[int, typer.Option(min=1, help="How many GPUs share the work.")] = 1,
) -> None:
    """Show the stages of a recipe, what is cached and what the rest costs, before anything runs."""
    from draftmark.pipeline.planning import hardware, plan_table

    machine, at = hardware.machine(gpu, utilisation), store or out / "store"
    rows = folder(data)
    typer.echo(plan_table.show(recipe, at, machine, gpus=gpus, data=rows, tasks=listed(tasks)))


def list_() -> None:
    """List recipes, tasks, methods, engines, reports, and models that can be fetched."""
    from draftmark import registry
    from draftmark.models.files import CATALOGUE
    from draftmark.pipeline.recipe_files import recipe_names

    groups = {
        "recipes": recipe_names(),
        "tasks": registry.names("tasks"),
        "methods": registry.names("baselines"),
        "engines": registry.names("engines"),
        "reports": registry.names("reports"),
        "models": sorted(CATALOGUE),
    }
    for title, found in groups.items():
        typer.echo(f"{title:8}  {', '.join(found)}")


def fetch(name: Annotated[str, typer.Argument(help="A model: see draftmark list.")]) -> None:
    """Bring a pretrained model into the model cache, checksummed."""
    from draftmark.models import files as models
    from draftmark.progress import Progress

    directory = models.fetch(name, Progress())
    models.verify(directory)
    typer.echo(str(directory))
