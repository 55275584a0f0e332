"""Options that several commands share, and how commands open runs and print files."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from draftmark.cli.opening import opening
from draftmark.cli.terminal import echo, echo_written
from draftmark.errors import UserError
from draftmark.types import Verification

if TYPE_CHECKING:
    from draftmark.pipeline.experiment import Plan
    from draftmark.progress import Progress
    from draftmark.results import Results
    from draftmark.store.store import Store

Recipe = Annotated[str, typer.Argument(help="A recipe's name (draftmark list) or a TOML file.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for results.")]
StoreAt = Annotated[
    Path | None, typer.Option("--store", help="Folder for cached stages [default: OUT/store].")
]
Tasks = Annotated[
    str | None, typer.Option("--tasks", help="Tasks instead of the recipe's, like gsm8k,mbpp.")
]
Unsafe = Annotated[
    bool,
    typer.Option("--unsafe-code", help="Run model-written programs without isolation."),
]
Data = Annotated[
    Path | None, typer.Option("--data", help="A data directory: <task>/<split>.jsonl.gz.")
]
GpuName = Annotated[str, typer.Option("--gpu", help="GPU of the estimate: h100, h200, a100, l40s.")]
Gpus = Annotated[
    int | None,
    typer.Option(min=1, help="GPUs that share the work [default: a training's processes]."),
]
Utilisation = Annotated[
    float, typer.Option(min=0.01, max=1, help="The share of the GPU's FLOP/s that is reached.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1, help="Stages that run at once [default: as many as cores and memory allow]."
    ),
]
Rule = Annotated[
    Verification,
    typer.Option("--verification", help="How the target accepts a block: token by token, or all."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead, and nothing else.")
]
Full = Annotated[bool, typer.Option("--full", help="Print the whole report on a terminal too.")]
Cluster = Annotated[
    str | None,
    typer.Option("--cluster", help="Run stages on Ray: 'local', or a cluster's address."),
]


def _latest_of_recipe(value: Path) -> Path:
    """Return a run's folder; for a recipe, that of its newest run in the folder `results`."""
    if value.is_dir():
        return value
    found = Path("results").glob(f"{value.stem}-????????/results.json")
    newest = max(found, key=lambda file: file.stat().st_mtime, default=None)
    return newest.parent if newest else value


RunFolder = Annotated[
    Path,
    typer.Argument(
        help="A folder that `draftmark run` wrote, or a recipe: its newest run in results.",
        callback=_latest_of_recipe,
    ),
]
RunOrCounts = Annotated[
    Path,
    typer.Argument(
        help="A run's folder, a recipe (its newest run in results), or a file counts.parquet.",
        callback=_latest_of_recipe,
    ),
]


def split_names(text: str | None) -> list[str] | None:
    """Return the names in a comma-separated list."""
    return [name.strip() for name in text.split(",")] if text is not None else None


def reopen_run(
    directory: Path, store: Path | None, data: Path | None
) -> "tuple[Results, Plan, Store, Progress]":
    """Return a run's results, the plan of its recipe, its store, and a progress output."""
    from draftmark.pipeline import experiment
    from draftmark.pipeline.publish import data_folder
    from draftmark.pipeline.recipe_files import stored_recipe
    from draftmark.progress import Progress
    from draftmark.store.run_folder import load_results
    from draftmark.store.store import Store

    results, progress = load_results(directory), Progress()
    if results.server is not None:
        raise UserError(f"{directory} was measured at a server: it has no recipe to run again.")
    recipe = stored_recipe(results.recipe, directory)
    plan = experiment.plan_experiment(recipe, progress, data=data_folder(data))
    return results, plan, Store(store or directory.parent / "store"), progress


def load_run(directory: Path, verification: Verification = "standard") -> "Results":
    """Return a run's results under a rule of verification."""
    from draftmark.analysis.under_block import results_under
    from draftmark.store.run_folder import load_results

    return results_under(load_results(directory), verification)


def show_files(files: list[Path], full: bool) -> None:
    """Print the Markdown files, then the paths of all files.

    A terminal gets the opening of each alone, as plain text, unless `full`.
    """
    brief = sys.stdout.isatty() and not full
    for file in files:
        if file.suffix == ".md":
            text = file.read_text(encoding="utf-8")
            echo(opening(text) if brief else text)
    echo_written(files[0].parent, [file.name for file in files])
    if brief:
        echo("With --full: all of it, as in the file.")
