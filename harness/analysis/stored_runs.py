"""Stored runs, read one at a time: whole, or as the summary that lists of many runs need.

The summary of a run is a small part of its results. Its file lies beside them, with the hash that
the run's checksums have of the results, and a hash of its own. Where the file is missing, damaged
or of other results, the results are read and the file is written anew.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

from draftmark.analysis.quantities import RATES, quantity_key
from draftmark.errors import UserError
from draftmark.results import Contender, Number, Results
from draftmark.store.files import write_atomically
from draftmark.store.plain_files import read_plain
from draftmark.store.reading import adapter, explained
from draftmark.store.run_folder import (
    RESULTS,
    check_number,
    load_numbers,
    load_results,
    recorded_hash,
    run_folders,
)
from draftmark.store.stored_shapes import Manifest

SUMMARY = "summary.jsonl"
SUBMISSION = "submission"  # the key of a manifest with what a submission to a board says of itself


@dataclass(frozen=True)
class RatesOf:
    """A contender's rates at the recipe's block length; none if all of its cells failed."""

    contender: Contender
    numbers: Mapping[str, Number]


@dataclass(frozen=True)
class RunSummary:
    """What lists of many runs need of results."""

    name: str
    title: str
    commit: Mapping[str, Any]
    hardware: Mapping[str, Any]
    seconds: float  # the computing time of all stages, each counted once
    num_boards: int  # tasks and pairs
    num_cells: int
    num_failed: int
    num_errors: int
    num_warnings: int
    gamma: int
    temperatures: tuple[float, ...]
    contenders: tuple[RatesOf, ...]


def summarise_run(results: Results) -> RunSummary:
    """Return the summary of a run's results."""
    rows, findings = results.results, results.findings
    evaluation = results.recipe["evaluation"]
    gamma, temperatures = evaluation["num_speculative_tokens"], tuple(evaluation["temperatures"])
    entries = (entry for row in rows for entry in row.provenance.get("entries", ()))
    return RunSummary(
        results.name,
        results.title,
        results.commit,
        results.manifest.get("hardware") or {},
        sum({entry["key"]: entry.get("seconds") or 0.0 for entry in entries}.values()),
        len({(row.cell.task, row.cell.pair) for row in rows}),
        len(rows),
        sum(bool(row.failure) for row in rows),
        sum(item.severity == "error" for item in findings),
        sum(item.severity == "warning" for item in findings),
        gamma,
        temperatures,
        tuple(_rates(results, [quantity_key(r, t, gamma) for r in RATES for t in temperatures])),
    )


def _rates(results: Results, keys: Sequence[str]) -> Iterator[RatesOf]:
    numbers = results.numbers
    for contender in dict.fromkeys(row.cell.contender for row in results.results):
        found = numbers.get(contender, {})
        yield RatesOf(contender, {key: found[key] for key in keys if key in found})


@dataclass(frozen=True)
class _Seal:
    """The first line of a summary's file: the hash of the results, and that of the second line."""

    results: str
    summary: str


def write_summary(summary: RunSummary, directory: Path) -> None:
    """Write a run's summary beside its results; nothing if they have no checksums."""
    if recorded := recorded_hash(directory, RESULTS):
        body = json.dumps(asdict(summary), allow_nan=False).encode()
        seal = _Seal(recorded, hashlib.sha256(body).hexdigest())
        lines = json.dumps(asdict(seal)).encode() + b"\n" + body
        write_atomically(directory / SUMMARY, lines)


def read_summary(directory: Path) -> RunSummary:
    """Return a run's summary; raises UserError if there is none and the results are damaged."""
    with suppress(UserError, OSError):
        return _read_file(directory)
    results = load_numbers(directory)
    summary = summarise_run(results)
    if SUBMISSION not in results.manifest:  # the hash of a submission is of all of its files
        with suppress(OSError):  # the folder is read-only
            write_summary(summary, directory)
    return summary


def _read_file(directory: Path) -> RunSummary:
    with explained(directory / SUMMARY):
        head, _, body = read_plain(directory / SUMMARY).partition(b"\n")
        seal = _Seal(recorded_hash(directory, RESULTS) or "", hashlib.sha256(body).hexdigest())
        if adapter(_Seal).validate_json(head) != seal:
            raise ValueError("it is of other results, or damaged")
        summary: RunSummary = adapter(RunSummary).validate_json(body)
        facts = {"versions": {}, "git": summary.commit or None, "hardware": summary.hardware}
        adapter(Manifest).validate_python(facts)
        for item in summary.contenders:
            for name, number in item.numbers.items():
                check_number(name, number)
    return summary


def readable_folders(folders: Sequence[Path], warn: Callable[[str], None]) -> list[Path]:
    """Return the run folders among and below folders; warn of those below that cannot be read.

    A folder that was named itself is kept: reading it will say what is wrong. Raises UserError if
    nothing is left.
    """
    found: list[Path] = []
    for folder in run_folders(folders):
        try:
            if folder not in folders:
                read_summary(folder)
        except UserError as error:
            warn(f"passed over: {error}")
        else:
            found.append(folder)
    if not found:
        raise UserError("No results can be read; name a folder that `draftmark run` wrote.")
    return found


class StoredRuns(Sequence[tuple[Results, Path]]):
    """Runs with their folders; each is loaded when it is asked for, and not kept.

    Asking raises UserError if the run is damaged.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = run_folders(folders)

    def __len__(self) -> int:
        return len(self.folders)

    @overload
    def __getitem__(self, place: int) -> tuple[Results, Path]: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[tuple[Results, Path]]: ...

    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            some = copy(self)
            some.folders = self.folders[place]
            return some
        return self.load(self.folders[place]), self.folders[place]

    def load(self, folder: Path) -> Results:
        """Return the results in a folder."""
        return load_results(folder)

    def summary(self, folder: Path) -> RunSummary:
        """Return the summary of the results in a folder."""
        return read_summary(folder)


def summaries(runs: Iterable[tuple[Results, Path]]) -> Iterator[tuple[RunSummary, Path]]:
    """Yield the summary of each run; those of stored runs are read without their results."""
    if isinstance(runs, StoredRuns):
        yield from ((runs.summary(folder), folder) for folder in runs.folders)
    else:
        yield from ((summarise_run(results), folder) for results, folder in runs)
