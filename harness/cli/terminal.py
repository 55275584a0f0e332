"""The way from commands to the terminal: all text is made printable, and a closed pipe is ignored.

Text of models, recipes and results may hold escape sequences. A pipe that `head` closed is not a
verdict: the command goes on and ends with its own exit code. So is a full disk behind standard
error; behind standard output it is an error.
"""

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from draftmark.errors import UserError
from draftmark.text import printable_paragraphs, printable_text

# A mark, a word and a colour: whoever sees no colour reads the word.
_STATES = {True: ("✓", "OK", "green"), False: ("✗", "missing", "red"), None: (" ", "", None)}


def echo(text: str, *, err: bool = False) -> None:
    """Print text, line breaks included, to standard output or standard error."""
    with _writing(err):
        typer.echo(printable_paragraphs(text, len(text)), err=err)


def echo_lines(lines: Iterable[str]) -> None:
    """Print each text as one line."""
    for line in lines:
        echo(printable_text(line, len(line)))


def echo_state(has: bool | None, text: str) -> None:
    """Print one line after "OK" or "missing", or after neither for None.

    A terminal gets colours, and lines of 80 columns.
    """
    mark, word, colour = _STATES[has]
    coloured = colour and sys.stdout.isatty() and "NO_COLOR" not in os.environ
    shown = f"{mark} {word:7}"
    with _writing():
        typer.echo(typer.style(shown, fg=colour) if coloured else shown, nl=False)
    line = printable_text(text, len(text))
    echo(f" {_hanging(line, len(shown) + 1) if sys.stdout.isatty() else line}")


def _hanging(line: str, start: int) -> str:
    """Return a line that starts at a column, wrapped before 80; words stay whole."""
    indent = " " * (start + 15)
    wrapped = textwrap.fill(
        f"{' ' * start}{line}",
        80,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped[start:]


def echo_written(folder: Path, names: Sequence[str]) -> None:
    """Print which files of a folder were written: on a terminal in one line."""
    if sys.stdout.isatty():
        echo(f"Written: {folder}: {', '.join(names)}")
        return
    for name in names:
        echo(f"Written: {folder / name}")


def echo_json(document: Any) -> None:
    """Print one JSON document, in ASCII, which no terminal takes for a command."""
    with _writing():
        typer.echo(json.dumps(document, indent=1))


@contextmanager
def _writing(err: bool = False) -> Iterator[None]:
    """Discard all output from now on if the block cannot write.

    Raises UserError for standard output on a full disk: whoever asked for the text misses it.
    """
    try:
        yield
    except OSError as error:
        _discard_output(err)
        if not (err or isinstance(error, BrokenPipeError)):
            raise UserError(
                f"Standard output cannot be written ({error.strerror}); what the command writes "
                "into files is there. Redirect it elsewhere."
            ) from error


def _discard_output(err: bool) -> None:
    """Redirect a stream to the null device."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, (sys.stderr if err else sys.stdout).fileno())
    os.close(nowhere)
