"""The way from commands to the terminal: all text is made printable, and a closed pipe is ignored.

Text of models, recipes and results may hold escape sequences. A pipe that `head` closed is not a
verdict: the command goes on and ends with its own exit code.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from draftmark.text import printable_paragraphs, printable_text

# A mark, a word and a colour: whoever sees no colour reads the word.
_STATES = {True: ("✓", "OK", "green"), False: ("✗", "missing", "red"), None: (" ", "", None)}


def echo(text: str, *, err: bool = False) -> None:
    """Print text, line breaks included, to standard output or standard error."""
    try:
        typer.echo(printable_paragraphs(text, len(text)), err=err)
    except BrokenPipeError:
        _discard_output(err)


def echo_lines(lines: Iterable[str]) -> None:
    """Print each text as one line."""
    for line in lines:
        echo(printable_text(line, len(line)))


def echo_state(has: bool | None, text: str) -> None:
    """Print one line after "OK" or "missing", or after neither for None; coloured on a terminal."""
    mark, word, colour = _STATES[has]
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    shown = f"{mark} {word:7}"
    try:
        typer.secho(shown, fg=colour if coloured else None, nl=False)
    except BrokenPipeError:
        _discard_output(err=False)
    echo(f" {printable_text(text, len(text))}")


def echo_written(folder: Path, names: Sequence[str]) -> None:
    """Print which files of a folder were written: on a terminal in one line."""
    if sys.stdout.isatty():
        echo(f"Written: {folder}: {', '.join(names)}")
        return
    for name in names:
        echo(f"Written: {folder / name}")


def echo_json(document: Any) -> None:
    """Print one JSON document, in ASCII, which no terminal takes for a command."""
    try:
        typer.echo(json.dumps(document, indent=1))
    except BrokenPipeError:
        _discard_output(err=False)


def _discard_output(err: bool) -> None:
    """Lead a stream whose reader has gone to the null device."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, (sys.stderr if err else sys.stdout).fileno())
    os.close(nowhere)
