"""Speed records: decodes, the wall time of each timed run, and timed model passes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from draftmark.store.files import write_atomically
from draftmark.store.reading import Count, Duration, read_json
from draftmark.store.records import DECODES, read_decodes, read_rows_as, write_decodes, write_rows
from draftmark.types import MAX_GAMMA, Arm, TimedDecode

RUNS, PARTS, ENGINE = "runs.parquet", "parts.parquet", "engine.json"


@dataclass(frozen=True)
class TimedRun:
    """A timed run of one arm over the prompts of a block, measured outside the engine.

    `peak_bytes`: the arm's own on an accelerator, else the process's with both arms loaded;
    `energy_j`: of all accelerators. None where there is no meter.
    """

    arm: Arm
    block: Count
    repeat: Count
    wall_s: Duration
    peak_bytes: Count | None = None
    energy_j: Annotated[float, Field(ge=-1e15, le=1e15)] | None = None


class EngineFacts(BaseModel):
    """The name of an engine, and the settings of its arms."""

    engine: str = ""
    target: dict[str, Any] | None = None
    draft: dict[str, Any] = {}


@dataclass(frozen=True)
class Measurement:
    """Decodes and timed runs of two arms; `engine_facts` has the engine's name and settings."""

    decodes: Sequence[TimedDecode]
    runs: Sequence[TimedRun]
    engine_facts: Mapping[str, Any]

    def save(self, directory: Path) -> None:
        """Write the measurement into a folder; raises ValueError if it has no decodes."""
        write_decodes(directory / DECODES, self.decodes)
        write_rows(directory / RUNS, [asdict(run) for run in self.runs])
        write_atomically(directory / ENGINE, json.dumps(self.engine_facts, indent=1).encode())

    @classmethod
    def load(cls, directory: Path) -> "Measurement":
        """Return the measurement in a folder."""
        decodes = read_decodes(directory / DECODES)
        return cls(decodes, read_runs(directory / RUNS), read_json(directory / ENGINE))


@dataclass(frozen=True)
class TimedPass:
    """A timed forward pass: `width` tokens of `batch_size` texts, each after `context` tokens.

    A draft that is not a language model drafts `width` tokens instead, where `block_length` were
    asked for; in records without `block_length` that was the longest block. `one_pass`: the draft
    takes this time even if it then drafts fewer tokens.
    """

    who: Arm
    repeat: Count
    batch_size: Annotated[Count, Field(ge=1)]
    context: Count
    width: Annotated[Count, Field(ge=1)]
    seconds: Duration
    block_length: Annotated[Count, Field(ge=1)] | None = None
    one_pass: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a verifying pass that is wider than any block."""
        if self.who == "target" and self.context and self.width > MAX_GAMMA + 1:
            raise ValueError(f"a pass verifies {MAX_GAMMA + 1} tokens at most, not {self.width}")


def write_parts(directory: Path, parts: Sequence[TimedPass]) -> None:
    """Write timed passes into a folder."""
    write_rows(directory / PARTS, [asdict(part) for part in parts])


def read_parts(directory: Path) -> list[TimedPass]:
    """Return the timed passes in a folder."""
    return read_rows_as(directory / PARTS, TimedPass)


def read_runs(path: Path) -> list[TimedRun]:
    """Return timed runs."""
    return read_rows_as(path, TimedRun)
