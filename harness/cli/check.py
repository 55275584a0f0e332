"""Check data, this machine, and the engine of a run: data check, doctor, verify."""

from typing import Annotated

import typer

from draftmark.cli.options import AsJson, Data, Full, RunFolder, StoreAt, reopen_run, show_files
from draftmark.cli.terminal import echo_json, echo_lines, echo_state
from draftmark.pipeline.publish import data_folder


def data_check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Tasks [default: all that have rows].")
    ] = None,
    data: Data = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="hub, directory or samples [default: directory if one is set, else samples]."
        ),
    ] = None,
) -> None:
    """Count the rows of every split that are malformed, left out, repeated or in another split.

    With --source hub, files that are not in the cache are downloaded first. Exit code 1 if a row is
    malformed.
    """
    from draftmark.data.check import check_tasks
    from draftmark.progress import Progress

    bad = 0
    for result in check_tasks(names, data_folder(data), source=source, progress=Progress()):
        echo_lines(result.lines())
        bad += result.malformed
    if bad:
        raise typer.Exit(1)


def doctor(data: Data = None, as_json: AsJson = False) -> None:
    """Show versions, hardware, models, data and network of this machine, and how to add them."""
    from draftmark.cli.doctor import diagnosis, diagnosis_lines

    facts = diagnosis(data_folder(data))
    if as_json:
        echo_json(facts)
    else:
        for line in diagnosis_lines(facts):
            echo_state(line.has, f"{line.name:13}  {line.text}")


def verify(
    directory: RunFolder,
    prompts: Annotated[int, typer.Option(min=2, help="Number of test prompts to decode.")] = 8,
    store: StoreAt = None,
    data: Data = None,
    full: Full = False,
) -> None:
    """Check that the engine is lossless with each draft of a run; exit code 1 if it is not."""
    from draftmark.pipeline import verify
    from draftmark.pipeline.render import render_reports

    results, plan, kept, progress = reopen_run(directory, store, data)
    checks = verify.verify_run(plan, kept, progress, prompts)
    verify.save_checks(checks, plan, directory)
    show_files(render_reports(results, directory, ["lossless"]), full)
    if verify.failed_cells(checks):
        raise typer.Exit(1)
