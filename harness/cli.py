"""The command line: run, plan, list, fetch, report, reconcile, what-if, verify, data check, doctor.

Everything heavy is imported inside the command that needs it: `draftmark list` answers at once.
Exit codes: 0, or 1 if a cell failed, a row is malformed or a check of fairness or leaks found an
error, or 2 for what a person can mend (one sentence, no traceback).
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UserError
from harness.options import (
    Data,
    GpuName,
    Out,
    Ran,
    Recipe,
    StoreAt,
    Tasks,
    Unsafe,
    Utilisation,
    folder,
    listed,
    writable,
)

app = typer.Typer(
    name="draftmark",
    help="Benchmarks drafts for speculative decoding: trains them, measures them, says how sure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

data_app = typer.Typer(help="Look at data before a run does.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@app.command()
def run(
    recipe: Recipe,
    out: Out = Path("results"),
    store: StoreAt = None,
    data: Data = None,
    tasks: Tasks = None,
    unsafe_code: Unsafe = False,
) -> None:
    """Run a recipe: train drafts, measure them, write the leaderboard."""
    from harness import experiment, runner
    from harness.progress import Progress
    from harness.recipes import load_recipe
    from harness.results import render, save_results
    from harness.sandbox import Sandbox
    from harness.store import Store

    progress = Progress()
    sandbox = Sandbox(unsafe=unsafe_code)
    loaded = load_recipe(recipe, tasks=listed(tasks))
    prepared = experiment.plan(loaded, progress, data=folder(data), sandbox=sandbox)
    name = Path(recipe).stem
    writable(out)
    records = Store(writable(store or out / "store"))
    results = runner.run(prepared, name, records, progress)
    directory = out / f"{name}-{prepared.key[:8]}"
    results = runner.save_records(prepared, results, records, directory)
    save_results(results, directory)
    files = render(results, directory, ["leaderboard"])
    typer.echo((directory / "leaderboard.md").read_text(encoding="utf-8"))
    for file in [*files, directory / "results.json"]:
        typer.echo(f"Written: {file}")
    errors = [finding for finding in results.findings if finding.severity == "error"]
    for error in errors:
        typer.echo(f"draftmark: {error.subject}: {error.text}", err=True)
    if errors or any(result.failure for result in results.results):
        raise typer.Exit(1)


@app.command()
def plan(
    recipe: Recipe,
    out: Out = Path("results"),
    store: StoreAt = None,
    data: Data = None,
    tasks: Tasks = None,
    gpu: GpuName = "h100",
    utilisation: Utilisation = 0.3,
) -> None:
    """Show the stages of a recipe, what is cached and what the rest costs, before anything runs."""
    from harness import hardware, planning

    told = {"data": folder(data), "tasks": listed(tasks)}
    machine = hardware.machine(gpu, utilisation)
    typer.echo(planning.show(recipe, store or out / "store", machine, **told))


@app.command(name="list")
def list_() -> None:
    """List recipes, tasks, methods, engines, reports, and models that can be fetched."""
    from harness import registry
    from harness.fetch import CATALOGUE
    from harness.recipes import recipe_names

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


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="A model: see draftmark list.")]) -> None:
    """Bring a pretrained model into the model cache, checksummed."""
    from harness import fetch as models
    from harness.progress import Progress

    directory = models.fetch(name, Progress())
    models.verify(directory)
    typer.echo(str(directory))


@app.command()
def report(
    directory: Ran,
    names: Annotated[
        list[str] | None, typer.Argument(help="Reports [default: leaderboard].")
    ] = None,
) -> None:
    """Render reports again from results, without running anything."""
    from harness.results import load_results, render

    for file in render(load_results(directory), directory, names or ["leaderboard"]):
        typer.echo(f"Written: {file}")


@app.command()
def reconcile(directory: Ran) -> None:
    """Show one run as vLLM, SGLang, Spec-Bench, EAGLE and AdaSPEC would print it."""
    from harness.results import load_results, render

    _show(render(load_results(directory), directory, ["reconcile"]))


@app.command()
def what_if(
    directory: Ran,
    cost_ratio: Annotated[
        list[float] | None,
        typer.Option(help="Time of drafting a token, in target passes; may be given again."),
    ] = None,
    verification_cost: Annotated[
        list[float] | None,
        typer.Option(help="Time that verifying a drafted token adds; may be given again."),
    ] = None,
) -> None:
    """Show what drafts would win at other costs: speedup, best block length, break-even."""
    from dataclasses import replace

    from harness import registry
    from harness.results import load_results, write

    given = {"cost_ratios": cost_ratio, "verification_costs": verification_cost}
    changes = {name: tuple(values) for name, values in given.items() if values}
    report = replace(registry.find("reports", "what_if"), **changes)
    _show(write(load_results(directory), directory, [report]))


@app.command()
def verify(
    directory: Ran,
    prompts: Annotated[int, typer.Option(min=2, help="How many test prompts are decoded.")] = 8,
    store: StoreAt = None,
    data: Data = None,
) -> None:
    """Check that the engine is lossless with each draft of a run; exit code 1 if it is not."""
    from harness import experiment, verifying
    from harness.config import Recipe
    from harness.progress import Progress
    from harness.results import load_results, render
    from harness.store import Store

    results, progress = load_results(directory), Progress()
    prepared = experiment.plan(Recipe.model_validate(results.recipe), progress, data=folder(data))
    kept = Store(store or directory.parent / "store")
    found = verifying.verify(prepared, kept, progress, prompts)
    verifying.publish(found, prepared, directory)
    _show(render(results, directory, ["lossless"]))
    if verifying.failed(found):
        raise typer.Exit(1)


@app.command()
def doctor(data: Data = None) -> None:
    """Show what this machine has: versions, hardware, models, data, network."""
    from harness.diagnosis import lines

    for line in lines(folder(data)):
        typer.echo(line)


@data_app.command(name="check")
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
    from harness.data_check import check_all

    bad = 0
    for result in check_all(names, folder(data)):
        for line in result.lines():
            typer.echo(line)
        bad += result.malformed
    if bad:
        raise typer.Exit(1)


def _show(files: list[Path]) -> None:
    """Print what can be read here, then where all files are."""
    for file in files:
        if file.suffix == ".md":
            typer.echo(file.read_text(encoding="utf-8"))
    for file in files:
        typer.echo(f"Written: {file}")


def main() -> None:
    """Run the command line; what a person can mend ends in one sentence and exit code 2."""
    from harness.store import explain_full_disk

    try:
        app()
    except UserError as error:
        _stop(error)
    except Exception as error:
        full = explain_full_disk(error, Path.cwd())
        if full is None:
            raise
        _stop(full)


def _stop(error: UserError) -> None:
    typer.echo(f"draftmark: {error}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
