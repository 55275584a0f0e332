"""Compare runs with accepted numbers: bless, power, gate."""

from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.options import Data, RunFolder, StoreAt, show_files, split_names
from draftmark.pipeline.publish import writable_folder
from draftmark.text import printable_text

Margin = Annotated[
    float, typer.Option(help="The largest allowed fall of a rate; 0.01 is one percentage point.")
]
Quantity = Annotated[str, typer.Option(help="The rate that is compared, like block_efficiency.")]
Declared = Annotated[
    list[str] | None,
    typer.Option("--declare", help="A fact that may differ, like hardware; may be repeated."),
]
AcceptedFile = Annotated[Path, typer.Argument(help="Accepted numbers, a JSON file.")]
_CODES = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}


def bless(
    directory: RunFolder,
    file: AcceptedFile,
    reason: Annotated[str, typer.Option(help="Why these numbers are right.")],
    methods: Annotated[
        str | None, typer.Option(help="Methods to accept, like kd,csd [default: all].")
    ] = None,
    declare: Declared = None,
) -> None:
    """Accept a run's numbers: the gate compares later runs with them.

    Earlier numbers stay in the file's history. `--declare` names facts in which later runs may
    differ; they are stored with the numbers.
    """
    from datetime import UTC, datetime

    from draftmark.analysis.gate import accepted
    from draftmark.store.run_folder import load_results

    before = accepted.load_accepted(file) if file.exists() else None
    new = accepted.accept_run(
        load_results(directory),
        directory,
        reason=reason,
        date=datetime.now(UTC).date().isoformat(),
        methods=split_names(methods),
        declared=declare or (),
        before=before,
    )
    accepted.save_accepted(new, file)
    for name, number in new.history[-1]["numbers"].items():
        line = f"{printable_text(name)}  {number['value']:.4f}"
        typer.echo(f"{line}  {accepted.was_before(name, before, new)}".rstrip())
    typer.echo(f"Written: {file}")


def power(
    directory: RunFolder,
    margin: Margin = 0.01,
    against: Annotated[
        Path | None, typer.Option(help="Accepted numbers; paired differences give the spread.")
    ] = None,
    quantity: Quantity = "acceptance_rate",
) -> None:
    """Show how many prompts the gate needs to fail 95 of 100 true drops of twice the margin."""
    from draftmark.analysis.gate import accepted
    from draftmark.analysis.gate.gate import GateTerms
    from draftmark.analysis.gate.power import power_lines
    from draftmark.store.run_folder import load_results

    terms = GateTerms(margin, quantity)
    known = accepted.load_accepted(against) if against else None
    for line in power_lines(load_results(directory), directory, known, terms):
        typer.echo(printable_text(line))


def gate(
    directory: RunFolder,
    against: Annotated[Path, typer.Option(help="Accepted numbers, from draftmark bless.")],
    margin: Margin = 0.01,
    quantity: Quantity = "acceptance_rate",
    declare: Declared = None,
    up_to: Annotated[
        int | None,
        typer.Option(help="While inconclusive, run again with twice the prompts, up to this many."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the gate's files [default: the run's].")
    ] = None,
    store: StoreAt = None,
    data: Data = None,
) -> None:
    """Test that a rate has not fallen by more than a margin: PASS, FAIL (1), INCONCLUSIVE (3).

    The numbers in brackets are exit codes. Runs are paired with the accepted numbers on prompts,
    and refused if they differ in a fact that was not declared.
    """
    from dataclasses import asdict

    from draftmark.analysis.gate import accepted
    from draftmark.analysis.gate.gate import GateTerms
    from draftmark.pipeline.more_prompts import judge_with_looks
    from draftmark.pipeline.publish import RunOptions
    from draftmark.pipeline.render import render_reports
    from draftmark.store.run_folder import load_results
    from draftmark.store.store import write_json

    results = load_results(directory)
    terms = GateTerms(margin, quantity, tuple(declare or ()))
    options = RunOptions(directory.parent, store, data)
    outcome = judge_with_looks(
        results, directory, accepted.load_accepted(against), terms, options, up_to
    )
    place = writable_folder(out or directory)
    write_json(place / "gate.json", asdict(outcome))
    show_files(render_reports(results, place, ["gate"]))
    raise typer.Exit(_CODES[outcome.verdict])
