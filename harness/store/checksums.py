"""The sums of a run's folder: the hash of its results and records, as `sha256sum -c` reads them.

What is read back of a run is checked by them, and never lies outside its folder. A folder without
sums (an interrupted writing, an older run) is taken as it is.
"""

from collections.abc import Iterable
from pathlib import Path

from draftmark.errors import UserError
from draftmark.store.entries import sha256_of
from draftmark.store.store import write_whole

SUMS, RECORDS = "results.sha256", "records"


def write_sums(directory: Path, names: Iterable[str]) -> None:
    """Write the sums of some files of a folder, by their names in it."""
    lines = [f"{sha256_of(directory / name)}  {name}\n" for name in names]
    write_whole(directory / SUMS, "".join(lines).encode())


def inside(directory: Path, name: str) -> Path:
    """Return a path in a run's folder; raises UserError if links or dots lead it out of there."""
    path = directory / name
    if not path.resolve().is_relative_to(directory.resolve()):
        raise UserError(f"{path} leads out of {directory}; nothing there is read or written.")
    return path


def intact(directory: Path, name: str) -> Path:
    """Return a file of a run's folder; raises UserError if it is not as it was written there."""
    path = inside(directory, name)
    if not path.is_file():
        raise UserError(f"{path} is missing; run the recipe again, or bring the whole folder.")
    if (directory / SUMS).is_file():
        told = [line for line in _lines(directory) if line.endswith(f"  {name}")]
        if told != [f"{sha256_of(path)}  {name}"]:
            raise UserError(
                f"{path} does not read: it is not what was written, its hash is not in {SUMS}; run "
                "the recipe again, or bring the whole folder."
            )
    return path


def check_all(directory: Path) -> None:
    """Raise UserError if a file of a run's folder is not as it was written; missing ones may be."""
    for line in _lines(directory) if (directory / SUMS).is_file() else ():
        name = line.partition("  ")[2]
        if (directory / name).is_file():
            intact(directory, name)


def _lines(directory: Path) -> list[str]:
    return (directory / SUMS).read_text("utf-8", "replace").splitlines()
