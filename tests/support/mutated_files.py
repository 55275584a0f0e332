"""Files that someone else may have written, mutated, and what commands must make of them."""

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, run_command
from hangs import no_hang
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mutations import Draw, mutated_bytes
from typer.main import get_command

from draftmark.cli import main

MUTATIONS = int(os.environ.get("DRAFTMARK_MUTATIONS", "5"))
MUTATED = settings(
    max_examples=MUTATIONS,
    database=None,
    derandomize=MUTATIONS < 100,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # shrinking a failure takes minutes
)
VERDICTS = {0: "# Gate: PASS", 1: "# Gate: FAIL", 3: "# Gate: INCONCLUSIVE"}
Command = tuple[str, ...]


def keep_file(folder: Path, file: Path) -> None:
    """Leave a mutated file as it is."""


@dataclass(frozen=True)
class Format:
    """A file, its mutations beside those of its bytes, and the commands that read it.

    `settle` makes hashes fit the mutated file, or removes them: they would name it as damaged.
    """

    file: str
    mutate: Callable[[bytes, Draw], bytes]
    commands: Sequence[Command]
    settle: Callable[[Path, Path], None] = keep_file


def distinct_commands(formats: Iterable[Format]) -> list[Command]:
    """Return the commands that read formats, each once."""
    return list(dict.fromkeys(command for form in formats for command in form.commands))


@cache
def _command_line() -> Any:
    """Return the command line, which typer makes once, not for each mutation."""
    return get_command(main.app)


def run_in(folder: Path, capsys: pytest.CaptureFixture[str], command: Command) -> Outcome:
    """Run a command in a folder; a hang is an error."""
    with pytest.MonkeyPatch.context() as patch, no_hang():
        patch.chdir(folder)
        patch.setattr(main, "app", _command_line())
        return run_command(capsys, *command)


def check_outcome(command: Command, outcome: Outcome) -> None:
    """Fail unless a command ended in what it prints, or in one sentence, with the right code."""
    assert "Traceback" not in outcome.err, outcome.err
    if outcome.code == 2:
        assert outcome.err.splitlines()[-1].startswith("draftmark: "), outcome
    elif command[0] == "gate":
        assert outcome.out.startswith(VERDICTS[outcome.code]), outcome
    elif command[:2] == ("store", "verify"):
        assert outcome.code == outcome.out.startswith("Damaged: "), outcome
    elif command[:2] == ("board", "check"):
        assert outcome.code == (not outcome.out.endswith(" 0 refused\n")), outcome
    else:
        assert outcome.code == 0, outcome


def mutate_file(
    form: Format,
    base: Path,
    factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Mutate the file MUTATIONS times, in copies of a folder, and run a command on each."""

    @MUTATED
    @given(st.data())
    def mutate(data: Any) -> None:
        folder = factory.mktemp("mutated") / "here"
        shutil.copytree(base, folder)
        file = next(folder.glob(form.file))
        change = data.draw(st.sampled_from([form.mutate, form.mutate, form.mutate, mutated_bytes]))
        file.write_bytes(change(file.read_bytes(), data.draw))
        form.settle(folder, file)
        command = data.draw(st.sampled_from(form.commands))
        check_outcome(command, run_in(folder, capsys, command))
        shutil.rmtree(folder.parent)

    mutate()
