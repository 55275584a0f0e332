"""The command line: all commands, and the exit codes of errors.

Exit codes: 0; 1 if a cell failed, a row is malformed, or a fairness or leak check found an error;
2 for an error that the user can fix (one sentence, no traceback); 70 for a bug, with its traceback;
130 for a run stopped by Ctrl-C. The gate: 0 PASS, 1 FAIL, 3 INCONCLUSIVE.
"""

import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from draftmark.cli import (
    board,
    check,
    export,
    gate,
    measure_server,
    merge,
    models,
    report,
    run,
    score,
    status,
    store,
)
from draftmark.cli.terminal import echo
from draftmark.errors import UserError
from draftmark.text import escape_messages

_BUG = (
    "This is a bug. Please report it at https://github.com/draftmark/draftmark/issues, with the "
    "lines above and the output of `draftmark doctor`. Finished results are kept."
)

app = typer.Typer(
    name="draftmark",
    help="Benchmarks drafts for speculative decoding: trains and measures them, with intervals.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(run.run)
app.command()(run.plan)
app.command()(score.score)
app.command()(status.status)
app.command(name="list")(run.list_)
app.command()(run.fetch)
app.command()(merge.merge)
app.command()(report.report)
app.command()(report.reconcile)
app.command()(report.compare)
app.command()(report.trend)
app.command()(report.site)
app.command()(report.what_if)
app.command()(gate.bless)
app.command()(gate.power)
app.command()(gate.gate)
app.command()(export.export)
app.command()(measure_server.measure_server)
app.command()(board.submit)
app.command()(check.verify)
app.command()(check.doctor)

data_app = typer.Typer(help="Check data before a run.", no_args_is_help=True)
data_app.command(name="check")(check.data_check)
app.add_typer(data_app, name="data")

board_app = typer.Typer(help="Keep a board that people submit to.", no_args_is_help=True)
board_app.command(name="new")(board.new)
board_app.command(name="check")(board.check)
board_app.command(name="build")(board.build)
board_app.command(name="rerun")(board.rerun)
board_app.command(name="freeze")(board.freeze)
app.add_typer(board_app, name="board")

models_app = typer.Typer(invoke_without_command=True, callback=models.models)
models_app.command(name="ls")(models.ls)
models_app.command(name="rm")(models.rm)
app.add_typer(models_app, name="models")

store_app = typer.Typer(help="Manage the store of finished stages.", no_args_is_help=True)
store_app.command(name="ls")(store.ls)
store_app.command(name="verify")(store.verify)
store_app.command(name="gc")(store.gc)
app.add_typer(store_app, name="store")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        echo(f"draftmark {metadata.version('draftmark')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line; a UserError ends it in one sentence, a bug in code 70."""
    from draftmark.pipeline.stopping import Stopped

    escape_messages()
    try:
        app(prog_name="draftmark")
    except UserError as error:
        _stop(error)
    except Stopped as stopped:
        _stop(stopped, 130)
    except KeyboardInterrupt:
        _stop("Stopped.", 130)
    except Exception as error:
        from draftmark.store.files import explain_full_disk, explain_refused_file

        explained = explain_full_disk(error, Path.cwd()) or explain_refused_file(error)
        if explained is None:
            echo(traceback.format_exc(), err=True)
            _stop(_BUG, 70)
        _stop(explained)


def _stop(sentence: object, code: int = 2) -> NoReturn:
    echo(f"draftmark: {sentence}", err=True)
    sys.exit(code)
