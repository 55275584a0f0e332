"""Compare runs with accepted numbers: bless, power, gate."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.options import (
    AsJson,
    Data,
    Full,
    Rule,
    RunFolder,
    StoreAt,
    load_run,
    show_files,
    split_names,
)
from draftmark.cli.terminal import echo, echo_json, echo_lines
from draftmark.errors import UserError
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
    verification: Rule = "standard",
) -> None:
    """Accept a run's numbers: the gate compares later runs with them.

    Earlier numbers stay in the file's history. `--declare` names facts in which later runs may
    differ; they are stored with the numbers, like the rule of `--verification`.
    """
    from datetime import UTC, datetime

    from draftmark.analysis.gate import accepted
    from draftmark.store.files import locked_folder

    results = load_run(directory, verification)
    date = datetime.now(UTC).date().isoformat()
    with locked_folder(writable_folder(file.parent)):  # another bless may add to the same history
        before = accepted.load_accepted(file) if file.exists() else None
        new = accepted.accept_run(
            results,
            directory,
            reason=reason,
            date=date,
            methods=split_names(methods),
            declared=declare or (),
            before=before,
        )
        accepted.save_accepted(new, file)
    for name, number in new.history[-1]["numbers"].items():
        line = f"{printable_text(name)}  {number['value']:.4f}"
        echo(f"{line}  {accepted.was_before(name, before, new)}".rstrip())
    echo(f"Written: {file}")


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
    echo_lines(power_lines(load_results(directory), directory, known, terms))


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
    as_json: AsJson = False,
    full: Full = False,
) -> None:
    """Test that a rate has not fallen by more than a margin: PASS, FAIL (1), INCONCLUSIVE (3).

    The numbers in brackets are exit codes. Runs are paired with the accepted numbers on prompts,
    and refused (2) if they differ in a fact that was not declared; the files then say why.
    """
    from dataclasses import asdict

    from draftmark.analysis.gate import accepted
    from draftmark.analysis.gate.gate import GateTerms
    from draftmark.pipeline.more_prompts import judge_with_looks
    from draftmark.pipeline.publish import RunOptions
    from draftmark.pipeline.render import render_reports
    from draftmark.store.files import write_json
    from draftmark.store.run_folder import load_results

    place = writable_folder(out) if out else directory
    with _refusal_written(place, any_folder=out is not None, as_json=as_json):
        results = load_results(directory)
        terms = GateTerms(margin, quantity, tuple(declare or ()))
        options = RunOptions(directory.parent, store, data)
        outcome = judge_with_looks(
            results, directory, accepted.load_accepted(against), terms, options, up_to
        )
    write_json(place / "gate.json", asdict(outcome))
    files = render_reports(results, place, ["gate"])
    if as_json:
        echo_json(asdict(outcome))
    else:
        show_files(files, full)
    raise typer.Exit(_CODES[outcome.verdict])


@contextmanager
def _refusal_written(place: Path, *, any_folder: bool, as_json: bool) -> Iterator[None]:
    """Write the gate's files with the reason if the block raises an error, then raise it.

    So no verdict of an earlier run stays. `as_json` prints the reason as JSON too. Unless
    `any_folder`, nothing is written where no results are.
    """
    from draftmark.store.run_folder import RESULTS

    try:
        yield
    except Exception as error:
        reason = str(error)
        if not isinstance(error, UserError):
            reason = f"draftmark failed: {type(error).__name__}: {error}"
        if as_json:
            echo_json({"refused": reason})
        if any_folder or (place / RESULTS).is_file():
            _write_refusal(place, reason)
        raise


def _write_refusal(place: Path, reason: str) -> None:
    from draftmark.pipeline.render import render_reports
    from draftmark.results import Results
    from draftmark.store.files import write_json

    nothing = Results(place.name, "", {}, (), (), (), (), (), {})
    with suppress(OSError, UserError):  # why the gate refused matters more
        write_json(place / "gate.json", {"refused": reason})
        render_reports(nothing, place, ["gate"])
