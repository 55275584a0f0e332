"""The way from commands to the terminal: all text is made printable, and a closed pipe is ignored.

Text of models, recipes and results may hold escape sequences. A pipe that `head` closed is not a
verdict: the command goes on and ends with its own exit code. So is a full disk behind standard
error; behind standard output it is an error.
"""

import html
import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import typer

from draftmark.errors import UserError
from draftmark.text import printable_paragraphs, printable_text

LINES = 12  # of a report's opening on a terminal
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


def opening(markdown: str) -> str:
    """Return the opening of a Markdown file as plain text: its blocks before the first table.

    It has at most LINES lines of 80 columns, unless the title and the block after it have more. Of
    a longer list it has the first items.
    """
    shown: list[list[str]] = []
    blocks = [it for it in re.split(r"\n{2,}", markdown.strip()) if not it.startswith("![")]
    for block in takewhile(lambda block: not block.startswith(("|", "```")), blocks):
        items = _plain_items(block)
        room = LINES - sum(map(len, shown)) if len(shown) > 1 else LINES + sum(map(len, items))
        lines = _fitting(items, room)
        if not lines:
            break
        shown.append(lines)
    if blocks[len(shown) - 1].startswith("## "):  # the heading of what is left out
        shown.pop()
    return "\n".join(line for lines in shown for line in lines)


def _plain_items(block: str) -> list[list[str]]:
    """Return the lines of each item of a list, or of a block, without marks, in 80 columns."""
    plain = html.unescape(re.sub(r"\\([\\|`\[\]])", r"\1", block)).replace("**", "")
    items = plain.split("\n") if plain.startswith("- ") else [re.sub(r"^#+ ", "", plain)]
    hanging = "  " * plain.startswith("- ")
    return [textwrap.wrap(" ".join(it.split()), 80, subsequent_indent=hanging) for it in items]


def _fitting(items: Sequence[list[str]], room: int) -> list[str]:
    """Return the lines of the items that fit into `room` lines; the last line counts the others."""
    if sum(map(len, items)) <= room:
        return [line for lines in items for line in lines]
    fit = [n for n in range(1, len(items)) if sum(map(len, items[:n])) < room]
    lines = [line for item in items[: fit[-1] if fit else 0] for line in item]
    return [*lines, f"- and {len(items) - fit[-1]} more"] if fit else []


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
                "into files is there. Lead its output to another place."
            ) from error


def _discard_output(err: bool) -> None:
    """Lead a stream to the null device."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, (sys.stderr if err else sys.stdout).fileno())
    os.close(nowhere)
