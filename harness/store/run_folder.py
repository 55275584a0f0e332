"""A run's folder `results/<recipe>-<key>/`: results, records, and checksums that verify them.

The checksums have the format of `sha256sum`. A folder without them, of an interrupted or an older
run, is read without verification. Reports lie in the same folder.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from draftmark.config.validation import explain_error
from draftmark.errors import UserError
from draftmark.results import Results
from draftmark.store.entries import checksum_line, files_in
from draftmark.store.plain_files import read_plain
from draftmark.store.store import write_atomically, write_json

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
    """Return the results in a folder; raises UserError if they or a record are damaged."""
    if not (directory / RESULTS).is_file():
        raise UserError(f"{directory} has no {RESULTS}; name a folder that `draftmark run` wrote.")
    path = verified_file(directory, RESULTS)
    for line in _sums(directory):  # fail now, not in the report that reads the record
        name = line.partition("  ")[2]
        if (directory / name).is_file():
            verified_file(directory, name)
    try:
        # Numbers are not validated strictly: other programs write 1.0 as 1.
        return TypeAdapter(Results).validate_json(read_plain(path))
    except ValidationError as error:
        reason = explain_error(error, f"{path} cannot be read")
        raise UserError(f"{reason.removesuffix('.')}; run the recipe again.") from error


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
    if not path.resolve().is_relative_to(directory.resolve()):
        raise UserError(f"{path} leads out of {directory}; nothing there is read or written.")
    return path


def verified_file(directory: Path, name: str) -> Path:
    """Return a file of a run's folder; raises UserError if it is missing, damaged or outside."""
    path = path_inside(directory, name)
    if not path.is_file():
        raise UserError(f"{path} is missing; run the recipe again, or copy the whole folder.")
    line = checksum_line(directory, name).strip()
    if (directory / SUMS).is_file() and line not in _sums(directory):
        raise UserError(
            f"{path} is damaged: its hash is not in {SUMS}; run the recipe again, or copy the "
            "whole folder."
        )
    return path


def _sums(directory: Path) -> list[str]:
    path = directory / SUMS
    return read_plain(path).decode("utf-8", "replace").splitlines() if path.is_file() else []
