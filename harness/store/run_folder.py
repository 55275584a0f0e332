"""A run's folder `results/<recipe>-<key>/`: results, records, and checksums that verify them.

The checksums have the format of `sha256sum`. A folder without them, of an interrupted or an older
run, is read without verification. Reports lie in the same folder.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from draftmark.errors import UserError
from draftmark.results import Number, Results
from draftmark.store.entries import checksum_line, files_in
from draftmark.store.files import write_atomically, write_json
from draftmark.store.parquet_probe import require_readable
from draftmark.store.plain_files import read_plain, real_path
from draftmark.store.reading import AGAIN, adapter, explained, read_json
from draftmark.store.stored_shapes import DataFacts, Manifest, Provenance, StoredRecipe

_LARGEST = 2**53  # a number of prompts
_MOST = 1e100  # of a value: figures overflow at some that are larger
_NUMERIC = {"t": float, "gamma": int, "position": int, "batch": int}  # terms of keys
RESULTS, RECORDS, SUMS = "results.json", "records", "results.sha256"


def save_results(results: Results, directory: Path) -> None:
    """Write results as JSON, and the checksums of the file and of the records beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / SUMS).unlink(missing_ok=True)
    write_json(directory / RESULTS, asdict(results))
    names = [RESULTS, *(f"{RECORDS}/{name}" for name in files_in(directory / RECORDS))]
    lines = "".join(checksum_line(directory, name) for name in names)
    write_atomically(directory / SUMS, lines.encode())


def load_results(directory: Path) -> Results:
    """Return the results in a folder; raises UserError if they or a record are damaged.

    So no reader of a record in Parquet meets one that ends its process (see `parquet_probe`).
    """
    results = load_numbers(directory)
    _check_records(results, directory / RESULTS)
    return results


def load_numbers(directory: Path) -> Results:
    """Return the results in a folder for a caller that reads no record of theirs.

    Raises UserError if results are damaged, or if a record is another than it was.
    """
    if not (directory / RESULTS).is_file():
        raise UserError(f"{directory} has no {RESULTS}; name a folder that `draftmark run` wrote.")
    path, sums = verified_file(directory, RESULTS), _sums(directory)
    for line in sums:  # fail now, not in the report that reads the record
        name = line.partition("  ")[2]
        if name != RESULTS and (directory / name).is_file():
            _verify(directory, name, sums)
    results: Results = read_json(path, Results)
    check_results(results, path)
    return results


def _check_records(results: Results, path: Path) -> None:
    """Raise UserError if records lie outside the folder, or one ends the process that reads it."""
    with explained(path):
        for name in dict.fromkeys(row.records for row in results.results if row.records):
            for record in sorted(path_inside(path.parent, name).glob("*.parquet")):
                require_readable(record, 0, AGAIN)


def check_results(results: Results, path: Path) -> None:
    """Raise UserError if what results store beside their numbers has another shape.

    Numbers are not validated strictly: other programs write 1.0 as 1. They must be finite.
    """
    with explained(path):
        adapter(StoredRecipe).validate_python(results.recipe)
        adapter(Manifest).validate_python(results.manifest)
        for facts in results.data:
            adapter(DataFacts).validate_python(facts)
        for row in results.results:
            adapter(Provenance).validate_python(row.provenance)
        _check_numbers(results)


def _check_numbers(results: Results) -> None:
    """Raise ValueError for a malformed key or number, a rank or a point of training without one."""
    if any("step" not in point for row in results.results for point in row.history):
        raise ValueError("a point of a training has no step")
    numbered = [*(row.numbers for row in results.results), *(it.numbers for it in results.pooled)]
    for numbers in numbered:
        for name, number in numbers.items():
            _check_key(name)
            check_number(name, number)
    for name, value in _other_values(results):
        _check_value(name, value)
    check_ranks(results)


def check_ranks(results: Results) -> None:
    """Raise ValueError if a contender has a rank by a quantity, and no number of it."""
    known = results.numbers
    for item in results.standings:
        if item.quantity not in known.get(item.contender, {}):
            raise ValueError(f"{item.contender.method} has a rank and no {item.quantity}")


def _check_key(key: str) -> None:
    """Raise ValueError if a key such as "block_efficiency[t=0,gamma=4]" has text for a number."""
    for term in key.partition("[")[2].removesuffix("]").split(","):
        name, _, value = term.partition("=")
        if name in _NUMERIC and value:
            _NUMERIC[name](value)


def _other_values(results: Results) -> Iterator[tuple[str, float | None]]:
    """Yield what results have beside the numbers of rows, after checking the numbers in it."""
    for item in (*results.comparisons, *results.block_comparisons):
        check_number(f"a difference in {item.quantity}", item.difference)
        tested = (item.p_value, item.adjusted_p, item.detectable, item.prompts_needed)
        yield from ((f"a comparison of {item.quantity}", value) for value in tested)
    for standing in (*results.standings, *results.block_standings):
        if standing.behind:
            check_number(f"a distance in {standing.quantity}", standing.behind)
    for row in results.results:
        yield from asdict(row.ledger).items() if row.ledger else ()
        yield from (value for point in row.history for value in point.items())


def check_number(name: str, number: Number) -> None:
    """Raise ValueError if a number has an n, a value or an end out of all bounds."""
    if abs(number.n) > _LARGEST:
        raise ValueError(f"{name} has n = {number.n}")
    for value in (number.value, number.low, number.high, number.effective):
        _check_value(name, value)


def _check_value(name: str, value: float | None) -> None:
    """Raise ValueError if a value is not finite, or larger than anything that was measured."""
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{name} is not finite")
    if value is not None and abs(value) >= _MOST:
        raise ValueError(f"{name} is {value:g}, which nobody measured")


def run_folders(folders: Sequence[Path]) -> list[Path]:
    """Return the run folders among and directly below `folders`; raises UserError without any."""
    found: dict[Path, None] = {}
    for folder in folders:
        files = [*folder.glob(RESULTS)] or sorted(folder.glob(f"*/{RESULTS}"))
        if not files:
            raise UserError(f"{folder} has no {RESULTS}; name a folder that `draftmark run` wrote.")
        found |= dict.fromkeys(file.parent for file in files)
    return list(found)


def path_inside(directory: Path, name: str) -> Path:
    """Return a path in a run's folder; raises UserError if links or dots lead out of the folder."""
    path = directory / name
    if not real_path(path).is_relative_to(real_path(directory)):
        raise UserError(f"{path} leads out of {directory}; nothing there is read or written.")
    return path


def recorded_hash(directory: Path, name: str) -> str | None:
    """Return the SHA-256 that a folder's checksums have of a file; None if they have none."""
    lines = (line.partition("  ") for line in _sums(directory))
    return next((digest for digest, _, file in lines if file == name), None)


def verified_file(directory: Path, name: str) -> Path:
    """Return a file of a run's folder; raises UserError if it is missing, damaged or outside."""
    return _verify(directory, name, _sums(directory))


def _verify(directory: Path, name: str, sums: Collection[str]) -> Path:
    path = path_inside(directory, name)
    if not path.is_file():
        raise UserError(f"{path} is missing; run the recipe again, or copy the whole folder.")
    if sums and checksum_line(directory, name).strip() not in sums:
        raise UserError(
            f"{path} is damaged: its hash is not in {SUMS}; run the recipe again, or copy the "
            "whole folder."
        )
    return path


def _sums(directory: Path) -> frozenset[str]:
    """Return the lines of a folder's checksums; none without the file."""
    path = directory / SUMS
    if not path.is_file():
        return frozenset()
    return frozenset(read_plain(path).decode("utf-8", "replace").splitlines()) or frozenset([""])
