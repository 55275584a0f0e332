"""Render stored results: reports, comparisons, trends, the site."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from draftmark.cli.options import Full, Rule, RunFolder, load_run, show_files
from draftmark.cli.terminal import echo
from draftmark.errors import UserError
from draftmark.pipeline.publish import writable_folder

if TYPE_CHECKING:
    from draftmark.analysis.under_block import RunsUnder
    from draftmark.results import Results
    from draftmark.types import Verification

Folders = Annotated[
    list[Path], typer.Argument(help="Folders of runs, or folders that contain such folders.")
]


def report(
    directory: RunFolder,
    names: Annotated[
        list[str] | None, typer.Argument(help="Reports [default: leaderboard].")
    ] = None,
    style: Annotated[
        str, typer.Option(help="Widths and fonts of figures: neurips, icml or acl.")
    ] = "",
    longest: Annotated[
        int | None,
        typer.Option(min=1, help="The longest block whose numbers the report counts keeps."),
    ] = None,
    verification: Rule = "standard",
) -> None:
    """Render reports of a run again; under block verification into its folder `block`."""
    from draftmark import registry
    from draftmark.pipeline.render import report_place, write_reports

    found = [registry.find_registered("reports", name) for name in names or ["leaderboard"]]
    reports = _with_field(found, "style", style or None, "figures")
    reports = _with_field(reports, "longest", longest, "counts")
    results, refused = load_run(directory, verification), []
    place = report_place(results, directory)
    for name, item in zip(names or ["leaderboard"], reports, strict=True):
        try:
            for file in write_reports(results, directory, [item], place):
                echo(f"Written: {file}")
        except UserError as error:
            refused.append(f"{name}: {error}")
    if refused:
        raise UserError("Not written: " + " Not written: ".join(refused))


def _with_field(reports: list[Any], field: str, value: Any, owner: str) -> list[Any]:
    """Return the reports, those that have the field with the value, unless it is None."""
    if value is None:
        return reports
    if not any(hasattr(report, field) for report in reports):
        raise UserError(f"--{field} is for the report {owner}: name it, as in report RUN {owner}.")
    return [replace(it, **{field: value}) if hasattr(it, field) else it for it in reports]


def reconcile(directory: RunFolder, verification: Rule = "standard", full: Full = False) -> None:
    """Show a run's numbers as vLLM, SGLang, Spec-Bench, EAGLE and AdaSPEC would print them."""
    show_files(_render("reconcile", load_run(directory, verification), directory), full)


def compare(
    a: Annotated[Path, typer.Argument(help="The earlier run.")],
    b: Annotated[Path, typer.Argument(help="The later run; its folder gets the files.")],
    verification: Rule = "standard",
    full: Full = False,
) -> None:
    """Compare two runs: settings that differ, then B - A of every rate, paired on prompts."""
    before, results = (load_run(run, verification) for run in (a, b))
    show_files(_render("compare", results, b, before=before, folder=a), full)


def trend(
    folders: Folders,
    rate: Annotated[str, typer.Option(help="The rate, like block_efficiency.")] = "acceptance_rate",
    least: Annotated[float, typer.Option(help="The smallest change that counts.")] = 0.01,
    dates: Annotated[bool, typer.Option("--dates", help="Space the runs by their dates.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("trend"),
    verification: Rule = "standard",
    full: Full = False,
) -> None:
    """Show a rate over many runs, in the order of their commits, and where its level changed."""
    runs = _readable_runs(folders, verification)
    fields = {"runs": runs, "rate": rate, "least": least, "dates": dates}
    show_files(_render("trend", runs[-1][0], writable_folder(out), **fields), full)


def site(
    folders: Folders,
    out: Annotated[Path, typer.Option(help="Folder for the site, replaced whole.")] = Path("site"),
    cells: Annotated[
        int, typer.Option(min=1, help="The most cells with pages; the newest runs have them.")
    ] = 1500,
    verification: Rule = "standard",
) -> None:
    """Write a static site of any number of runs; open its index.html, or serve the folder."""
    from draftmark import registry
    from draftmark.store.published_folder import publish_folder

    runs = _readable_runs(folders, verification)
    report = registry.find_registered("reports", "site")
    of_runs = replace(report, runs=runs, folder="", cells=cells)
    written = publish_folder(out, of_runs.files(*runs[-1]))
    echo(f"Written: {out / 'index.html'} and {len(written) - 1} more files")


def _readable_runs(folders: Sequence[Path], verification: "Verification") -> "RunsUnder":
    """Return the runs among and below folders; a line on standard error for each passed over."""
    from draftmark.analysis.stored_runs import readable_folders
    from draftmark.analysis.under_block import RunsUnder

    return RunsUnder(readable_folders(folders, partial(echo, err=True)), verification)


def what_if(
    directory: RunFolder,
    cost_ratio: Annotated[
        list[float] | None,
        typer.Option(help="Time to draft a token, in target passes; may be repeated."),
    ] = None,
    verification_cost: Annotated[
        list[float] | None,
        typer.Option(help="Added time to verify a drafted token; may be repeated."),
    ] = None,
    verification: Rule = "standard",
    full: Full = False,
) -> None:
    """Show the drafts' speedups at other costs, with best block lengths and break-even costs."""
    options = {"cost_ratios": cost_ratio, "verification_costs": verification_cost}
    fields = {name: tuple(values) for name, values in options.items() if values}
    show_files(_render("what_if", load_run(directory, verification), directory, **fields), full)


def _render(name: str, results: "Results", directory: Path, **fields: Any) -> list[Path]:
    """Write a report with some of its fields set; return its files."""
    from draftmark import registry
    from draftmark.pipeline.render import report_place, write_reports

    report = registry.find_registered("reports", name)
    reports = [replace(report, **fields) if fields else report]
    return write_reports(results, directory, reports, report_place(results, directory))
