"""The command line: every command, and how a mistake ends.

Exit codes: 0, or 1 if a cell failed, a row is malformed or a check of fairness or leaks found an
error, or 2 for what a person can mend (one sentence, no traceback), or 130 for a run that Ctrl-C
has stopped. Of the gate: 0 PASS, 1 FAIL, 3 INCONCLUSIVE.
"""

import sys
from pathlib import Path

import typer

from harness.commands import (
    checking,
    exporting,
    following,
    regression,
    rendering,
    running,
    serving,
    storing,
)
from harness.errors import UserError

app = typer.Typer(
    name="draftmark",
    help="Benchmarks drafts for speculative decoding: trains them, measures them, says how sure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(running.run)
app.command()(running.plan)
app.command()(following.status)
app.command(name="list")(running.list_)
app.command()(running.fetch)
app.command()(rendering.report)
app.command()(rendering.reconcile)
app.command()(rendering.compare)
app.command()(rendering.trend)
app.command()(rendering.site)
app.command()(rendering.what_if)
app.command()(regression.bless)
app.command()(regression.power)
app.command()(regression.gate)
app.command()(exporting.export)
app.command()(serving.measure_server)
app.command()(checking.verify)
app.command()(checking.doctor)

data_app = typer.Typer(help="Look at data before a run does.", no_args_is_help=True)
data_app.command(name="check")(checking.data_check)
app.add_typer(data_app, name="data")

store_app = typer.Typer(help="Look after the store of finished stages.", no_args_is_help=True)
store_app.command(name="ls")(storing.ls)
store_app.command(name="verify")(storing.verify)
store_app.command(name="gc")(storing.gc)
store_app.command(name="pack")(storing.pack)
store_app.command(name="unpack")(storing.unpack)
app.add_typer(store_app, name="store")


def main() -> None:
    """Run the command line; what a person can mend ends in one sentence and exit code 2."""
    from harness.scheduling.stopping import Stopped
    from harness.store import explain_full_disk

    try:
        app()
    except UserError as error:
        _stop(error)
    except Stopped as stopped:
        _stop(stopped, 130)
    except Exception as error:
        full = explain_full_disk(error, Path(getattr(error, "filename", None) or Path.cwd()))
        if full is None:
            raise
        _stop(full)


def _stop(error: Exception, code: int = 2) -> None:
    typer.echo(f"draftmark: {error}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
