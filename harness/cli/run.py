"""Run and plan experiments: run, plan, list, fetch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from draftmark.cli.options import (
    Cluster,
    Data,
    GpuName,
    Jobs,
    Out,
    Recipe,
    StoreAt,
    Tasks,
    Unsafe,
    Utilisation,
    split_names,
)
from draftmark.errors import UserError
from draftmark.pipeline.publish import data_folder

if TYPE_CHECKING:
    from draftmark.config.recipe import Recipe as Experiment
    from draftmark.pipeline.publish import RunOptions


def run(
    recipe: Recipe,
    out: Out = Path("results"),
    store: StoreAt = None,
    data: Data = None,
    tasks: Tasks = None,
    unsafe_code: Unsafe = False,
    jobs: Jobs = None,
    cluster: Cluster = None,
) -> None:
    """Run a recipe, or the recipes of a suite: train drafts, measure them, write leaderboards."""
    from draftmark.pipeline.publish import RunOptions
    from draftmark.pipeline.recipe_files import load_recipe, suite_members

    if cluster:
        if jobs:
            raise UserError(
                f"--jobs {jobs} counts stages of this machine, and --cluster leaves that to Ray; "
                "use one of them."
            )
        from draftmark.pipeline.cluster.executor import require_ray

        require_ray()
    loaded = {name: load_recipe(name, tasks=split_names(tasks)) for name in suite_members(recipe)}
    options = RunOptions(out, store, data, unsafe_code, cluster, jobs)
    fit = [_run(one, Path(name).stem, options) for name, one in loaded.items()]
    if not all(fit):
        raise typer.Exit(1)


def _run(recipe: "Experiment", name: str, options: "RunOptions") -> bool:
    """Run a recipe and print its leaderboard; True if no cell and no check failed."""
    from draftmark.pipeline.publish import run_recipe
    from draftmark.pipeline.render import render_reports

    results, directory = run_recipe(recipe, name, options)
    files = render_reports(results, directory, ["leaderboard"])
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
    gpus: Annotated[int, typer.Option(min=1, help="Number of GPUs that share the work.")] = 1,
    jobs: Jobs = None,
) -> None:
    """Show a recipe's stages, which of them are cached, and the cost of the others; run nothing."""
    from draftmark.pipeline.planning.estimates import find_gpu
    from draftmark.pipeline.planning.plan_table import render_plan

    device, at, rows = find_gpu(gpu, utilisation), store or out / "store", data_folder(data)
    names = split_names(tasks)
    typer.echo(render_plan(recipe, at, device, gpus=gpus, jobs=jobs, data=rows, tasks=names))


def list_() -> None:
    """List recipes, tasks, methods, engines, reports, and the models that can be fetched."""
    from draftmark import registry
    from draftmark.models.catalogue import CATALOGUE

    groups = {
        "recipes": registry.recipe_names(),
        "tasks": registry.registered_names("tasks"),
        "methods": registry.registered_names("baselines"),
        "engines": registry.registered_names("engines"),
        "reports": registry.registered_names("reports"),
        "models": sorted(CATALOGUE),
    }
    for title, names in groups.items():
        typer.echo(f"{title:8}  {', '.join(names)}")


def fetch(name: Annotated[str, typer.Argument(help="A model: see draftmark list.")]) -> None:
    """Download a pretrained model into the model cache, each file held against the hub's hash."""
    from draftmark.models import files as models
    from draftmark.progress import Progress

    progress = Progress()
    directory = models.fetch_model(name, progress)
    if line := models.describe_origin(name, directory):
        progress.say(line)
    typer.echo(str(directory))
