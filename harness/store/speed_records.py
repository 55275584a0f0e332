"""What a measurement of speed leaves: decodes, the clock around each run, and timed parts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from draftmark.store.records import DECODES, read_decodes, read_rows, write_decodes, write_rows
from draftmark.types import Arm, TimedDecode

RUNS, PARTS, ENGINE = "runs.parquet", "parts.parquet", "engine.json"


@dataclass(frozen=True)
class Run:
    """An arm's run over the prompts of a block, as seen from outside the engine.

    `peak_bytes`: on an accelerator of the arm alone, else of the process with both arms loaded;
    `energy_j`: of the accelerators. None where nothing tells.
    """

    arm: Arm
    block: int
    repeat: int
    wall_s: float
    peak_bytes: int | None = None
    energy_j: float | None = None


@dataclass(frozen=True)
class Measurement:
    """What two arms did, run by run and prompt by prompt; `told` is what the engine says of each.

    Facts only: rates are derived.
    """

    decodes: Sequence[TimedDecode]
    runs: Sequence[Run]
    told: Mapping[str, Any]

    def save(self, directory: Path) -> None:
        """Write it into a folder."""
        write_decodes(directory / DECODES, self.decodes)
        write_rows(directory / RUNS, [asdict(run) for run in self.runs])
        (directory / ENGINE).write_text(json.dumps(self.told, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> "Measurement":
        """Return the one that was written into a folder."""
        runs = [Run(**row) for row in read_rows(directory / RUNS)]
        told = json.loads((directory / ENGINE).read_text("utf-8"))
        return cls(read_decodes(directory / DECODES), runs, told)


@dataclass(frozen=True)
class TimedPass:
    """A part of a block, timed by itself.

    A model reads `width` tokens of each of `batch_size` texts after `context` tokens of it. A draft
    that is no language model drafts `width` tokens.
    """

    who: Arm
    repeat: int
    batch_size: int
    context: int
    width: int
    seconds: float


def write_parts(directory: Path, parts: Sequence[TimedPass]) -> None:
    """Write timed parts into a folder."""
    write_rows(directory / PARTS, [asdict(part) for part in parts])


def read_parts(directory: Path) -> list[TimedPass]:
    """Return the timed parts in a folder."""
    return [TimedPass(**row) for row in read_rows(directory / PARTS)]
