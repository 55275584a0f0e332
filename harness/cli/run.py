"""Run and plan experiments: run, plan, list, fetch."""

import sys
import textwrap
from collections.abc import Iterator, Sequence
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
from draftmark.cli.terminal import echo, echo_json, echo_lines, echo_written
from draftmark.errors import UserError
from draftmark.pipeline.publish import data_folder
from draftmark.text import printable_text
from draftmark.types import Verification

if TYPE_CHECKING:
    from draftmark.config.recipe import Recipe as Experiment
    from draftmark.pipeline.publish import RunOptions

# Title of a group in the list -> what notes and texts of its names are; without notes, no column.
_HEADINGS = {
    "recipes": ("time, on", "what is measured"),
    "tasks": ("", "a few rows of each come with draftmark"),
    "methods": ("trains", "how it drafts; no GPU needed; time: draftmark plan"),
    "engines": ("needs", "what it runs; none needs a GPU"),
    "reports": ("", "what it writes; none runs a model"),
    "models": ("", "where draftmark fetch finds it"),
}


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

    Each name has a line. A time is of one run, on what it names: cores, or a GPU that it needs.
    """
    from draftmark import registry
    from draftmark.models.catalogue import CATALOGUE

    places = {name: model.place for name, model in sorted(CATALOGUE.items())}
    groups = {
        "recipes": registry.described_recipes(),
        "tasks": registry.described_names("tasks"),
        "methods": registry.described_names("baselines"),
        "engines": registry.described_names("engines"),
        "reports": registry.described_names("reports"),
        "models": {name: registry.Description(place, place) for name, place in places.items()},
    }
    if as_json:
        echo_json(
            {title: {name: str(found[name]) for name in found} for title, found in groups.items()}
        )
        return
    for title, found in groups.items():
        entries = ((f"  {name}", item.note or "-", item.short) for name, item in found.items())
        echo_lines(_aligned([(title, *_HEADINGS[title]), *entries]))


def _aligned(rows: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """Yield a line of 80 columns for each name, note and text; a longer text is cut."""
    name_width, note_width = (max(len(row[column]) for row in rows) + 2 for column in (0, 1))
    for name, note, text in rows:
        head = f"{name:{name_width}}" + f"{note:{note_width}}" * bool(rows[0][1])
        shown = textwrap.shorten(printable_text(text), 80 - len(head), placeholder="…")
        yield (head + shown).rstrip()


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
