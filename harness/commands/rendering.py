"""Show stored results, without running anything: report, reconcile, what-if."""

from typing import Annotated

import typer

from harness.options import Ran, show


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


def reconcile(directory: Ran) -> None:
    """Show one run as vLLM, SGLang, Spec-Bench, EAGLE and AdaSPEC would print it."""
    from harness.results import load_results, render

    show(render(load_results(directory), directory, ["reconcile"]))


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
    show(write(load_results(directory), directory, [report]))
