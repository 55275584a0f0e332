"""Run and plan experiments: run, plan, list, fetch."""

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from draftmark.cli.options import (
    AsJson,
    Cluster,
    Data,
    Full,
    GpuName,
    Gpus,
    Jobs,
    Out,
    Recipe,
    StoreAt,
    Tasks,
    Unsafe,
    Utilisation,
    split_names,
)
from draftmark.cli.terminal import echo, echo_json, echo_written
from draftmark.errors import UserError
from draftmark.pipeline.publish import data_folder
from draftmark.text import printable_text
from draftmark.types import Verification

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
    full: Full = False,
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
    fit = [run_and_print(one, Path(name).stem, options, full) for name, one in loaded.items()]
    if not all(fit):
        raise typer.Exit(1)


def run_and_print(
    recipe: "Experiment",
    name: str,
    options: "RunOptions",
    full: bool,
    *,
    verification: Verification = "standard",
    also: Sequence[str] = (),
) -> bool:
    """Run a recipe and print its answer; True if no cell and no check failed.

    A pipe, or `full`, gets the whole leaderboard. `also` names more files of the run's folder.
    """
    from draftmark.analysis.under_block import results_under
    from draftmark.pipeline.publish import run_recipe
    from draftmark.pipeline.render import render_reports

    results, directory = run_recipe(recipe, name, options)
    under = results_under(results, verification)
    shown, board = render_reports(under, directory, ["answer", "leaderboard"])
    if full or not sys.stdout.isatty():
        shown = board
    text = shown.read_text(encoding="utf-8")
    echo(text if shown == board else text.removesuffix("\n"))
    echo_written(directory, [board.name, "results.json", *also])
    echo(f"As pages: draftmark site {directory}")
    errors = [finding for finding in results.findings if finding.severity == "error"]
    for error in errors:
        echo(f"draftmark: {error.subject}: {error.text}", err=True)
    return not (errors or any(row.failure or row.speed_failures for row in results.results))


def plan(
    recipe: Recipe,
    out: Out = Path("results"),
    store: StoreAt = None,
    data: Data = None,
    tasks: Tasks = None,
    gpu: GpuName = "h100",
    utilisation: Utilisation = 0.3,
    gpus: Gpus = None,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """Show a recipe's stages, which of them are cached, and the cost of the others; run nothing."""
    from draftmark.pipeline.planning.estimates import find_gpu
    from draftmark.pipeline.planning.plan_table import render_plan

    device, at, rows = find_gpu(gpu, utilisation), store or out / "store", data_folder(data)
    names = split_names(tasks)
    if as_json:
        from draftmark.pipeline.planning.plan_document import plan_document

        echo_json(plan_document(recipe, at, device, jobs=jobs, data=rows, tasks=names))
        return
    echo(render_plan(recipe, at, device, gpus=gpus, jobs=jobs, data=rows, tasks=names))


def list_(as_json: AsJson = False) -> None:
    """List and describe recipes, tasks, methods, engines, reports, and models to fetch.

    A recipe has its time, and the GPU that it needs; without one, processor cores are enough.
    """
    from draftmark import registry
    from draftmark.models.catalogue import CATALOGUE

    groups = {
        "recipes": registry.described_recipes(),
        "tasks": registry.described_names("tasks"),
        "methods": registry.described_names("baselines"),
        "engines": registry.described_names("engines"),
        "reports": registry.described_names("reports"),
        "models": {name: model.place for name, model in sorted(CATALOGUE.items())},
    }
    if as_json:
        echo_json(groups)
        return
    for title, names in groups.items():
        echo(title)
        width = max(map(len, names))
        for name, description in names.items():
            echo(_hanging(f"  {name:{width}}  ", printable_text(description)))


def _hanging(head: str, text: str) -> str:
    """Return text after a head, its further lines below its first, in 80 columns."""
    return textwrap.fill(text, 80, initial_indent=head, subsequent_indent=" " * len(head))


def fetch(
    name: Annotated[str, typer.Argument(help="A model (see draftmark list), or a head.")],
) -> None:
    """Download a model or trained head into the model cache, held against the hub's hashes."""
    from draftmark.models import files as models
    from draftmark.progress import Progress

    progress = Progress()
    directory = models.fetch_model(name, progress, head=None)
    if line := models.describe_origin(name, directory):
        progress.say(line)
    echo(str(directory))
