"""The command line, run in this process."""

import sys
from dataclasses import dataclass
from typing import Any

import pytest

from draftmark.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


def run_command(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run a command; return its outcome."""
    code: Any = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["draftmark", *map(str, arguments)])
        try:
            main.main()
        except SystemExit as stop:
            code = stop.code or 0
    out, err = capsys.readouterr()
    return Outcome(code, out, err)


def sentence_of(outcome: Outcome) -> str:
    """Return the sentence of a command that the user can fix: exit code 2, no traceback."""
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    last = outcome.err.splitlines()[-1]
    assert last.startswith("draftmark: ")
    assert last.endswith(".")
    return last
