"""What a command costs before it does anything: `draftmark --help` and `draftmark list`.

Beside each is a bare import of the libraries that a command line like draftmark's stands on. Time
is processor time of the process, which other work on the machine does not count in.
"""

import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence

from tests.bench.frame import Arm, Comparison, Spent

LIBRARIES = "importing typer, rich and pydantic"
COMMANDS = ("--help", "list")


def comparisons(words: Sequence[str] = ()) -> list[Comparison]:
    """Return a comparison for each command; raises SystemExit for words, for it takes none."""
    if words:
        raise SystemExit(f"the bench of starting takes no options, not {' '.join(words)!r}")
    facts = {"clock": "processor time"}
    return [
        Comparison(f"draftmark {command}", lambda command=command: arms(command), facts)
        for command in COMMANDS
    ]


def arms(command: str) -> Mapping[str, Arm]:
    """Return draftmark's command and the bare imports, both run once before they are timed."""
    found = {
        f"draftmark {command}": process("-m", "draftmark.cli.start", command),
        LIBRARIES: process("-c", "import typer, rich.console, rich.table, pydantic"),
    }
    for arm in found.values():
        arm(0)
    return found


def process(*words: str) -> Arm:
    """Return an arm that runs Python once; its seconds are the process's processor time."""

    def arm(_: int) -> Spent:
        before = _processor_s()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        return Spent(_processor_s() - before)

    return arm


def _processor_s() -> float:
    """Return the processor time of all processes that this one has started and awaited."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
