"""Show stored results, without running anything: reports, comparisons, trends, the site."""

from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.options import Ran, show
from draftmark.pipeline.publish import writable_folder


def report(
    directory: Ran,
    names: Annotated[
        list[str] | None, typer.Argument(help="Reports [default: leaderboard].")
    ] = None,
) -> None:
    """Render reports again from results, without running anything."""
    from draftmark.pipeline.render import render
    from draftmark.store.run_folder import load_results

    for file in render(load_results(directory), directory, names or ["leaderboard"]):
        typer.echo(f"Written: {file}")


def reconcile(directory: Ran) -> None:
    """Show one run as vLLM, SGLang, Spec-Bench, EAGLE and AdaSPEC would print it."""
    from draftmark.pipeline.render import render
    from draftmark.store.run_folder import load_results

    show(render(load_results(directory), directory, ["reconcile"]))


def compare(
    a: Annotated[Path, typer.Argument(help="The run that is compared with.")],
    b: Annotated[Path, typer.Argument(help="The run that is compared; gets the files.")],
) -> None:
    """Compare two runs: what they do not share, then B - A of every rate, paired on prompts."""
    from dataclasses import replace

    from draftmark import registry
    from draftmark.pipeline.render import write_reports
    from draftmark.store.run_folder import load_results

    report = replace(registry.find("reports", "compare"), before=load_results(a), folder=a)
    show(write_reports(load_results(b), b, [report]))


def trend(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of runs, or folders that hold such folders.")
    ],
    rate: Annotated[str, typer.Option(help="The rate, like block_efficiency.")] = "acceptance_rate",
    least: Annotated[float, typer.Option(help="The smallest step that counts.")] = 0.01,
    dates: Annotated[bool, typer.Option("--dates", help="Draw runs apart by their dates.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for what is written.")] = Path("trend"),
) -> None:
    """Show a rate over many runs, in the order of their commits, and where its level changed."""
    from dataclasses import replace

    from draftmark import registry
    from draftmark.pipeline.render import write_reports
    from draftmark.store.run_folder import load_results, run_folders

    runs = tuple((load_results(folder), folder) for folder in run_folders(folders))
    told = {"runs": runs, "rate": rate, "least": least, "dates": dates}
    report = replace(registry.find("reports", "trend"), **told)
    show(write_reports(runs[-1][0], writable_folder(out), [report]))


def site(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of runs, or folders that hold such folders.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for what is written.")] = Path("site"),
) -> None:
    """Write a static site of any number of runs: open its index.html, or serve the folder."""
    from dataclasses import replace

    from draftmark import registry
    from draftmark.pipeline.render import write_reports
    from draftmark.store.run_folder import load_results, run_folders

    runs = tuple((load_results(folder), folder) for folder in run_folders(folders))
    report = replace(registry.find("reports", "site"), runs=runs, folder="")
    written = write_reports(runs[-1][0], writable_folder(out), [report])
    typer.echo(f"Written: {out / 'index.html'} and {len(written) - 1} files more")


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

    from draftmark import registry
    from draftmark.pipeline.render import write_reports
    from draftmark.store.run_folder import load_results

    given = {"cost_ratios": cost_ratio, "verification_costs": verification_cost}
    changes = {name: tuple(values) for name, values in given.items() if values}
    report = replace(registry.find("reports", "what_if"), **changes)
    show(write_reports(load_results(directory), directory, [report]))
