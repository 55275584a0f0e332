"""Entries of the store: how a result was made, and hashes that verify its files.

`entry.json` has the settings, the keys of the inputs, the manifest and the hash of every file
beside it; `entry.sha256` has the hash of `entry.json`, in the format of `sha256sum`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from draftmark.errors import UserError
from draftmark.store.plain_files import open_plain, read_plain
from draftmark.store.reading import Seconds, adapter, read_json
from draftmark.text import printable_text

ENTRY, SEAL = "entry.json", "entry.sha256"


@dataclass(frozen=True)
class Entry:
    """A result in the store: its folder and how it was made."""

    directory: Path
    key: str
    stage: str
    label: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]  # name -> {"sha256", "bytes"}
    seconds: float
    manifest: Mapping[str, Any]


class _Inputs(BaseModel):
    """The keys of an entry's inputs."""

    inputs: Mapping[str, str]


class _Facts(BaseModel):
    """What an entry says without its files."""

    label: str
    seconds: Seconds


class Damaged(Exception):
    """The files of an entry are not those that were written."""


def read_entry(directory: Path) -> Entry:
    """Return the entry in a folder `<stage>/<key>`, with all files verified.

    Raises Damaged if a file of the folder is missing, changed or unknown to its entry.
    """
    try:
        if read_plain(directory / SEAL) != checksum_line(directory, ENTRY).encode():
            raise Damaged(f"{directory / ENTRY} has changed since it was written")
        facts = read_json(directory / ENTRY)
        entry: Entry = adapter(Entry).validate_python({**facts, "directory": directory})
    except (FileNotFoundError, ValueError, UserError) as error:
        raise Damaged(f"{directory / ENTRY} cannot be read: {_first_line(error)}") from error
    if (entry.stage, entry.key) != (directory.parent.name, directory.name):
        raise Damaged(f"{directory / ENTRY} belongs to another result: {entry.stage} {entry.key}")
    names = {*files_in(directory)} - {ENTRY, SEAL}
    for name in sorted(names | entry.files.keys()):
        if name not in names:
            raise Damaged(f"{directory / name} is missing")
        if name not in entry.files:
            raise Damaged(f"{directory / name} does not belong to this result")
        if _differs(directory / name, entry.files[name]):
            raise Damaged(f"{directory / name} has changed since it was written")
    return entry


def stored_inputs(directory: Path) -> tuple[str, ...]:
    """Return the keys of the inputs that an entry names; none if the entry cannot be read."""
    try:
        return tuple(read_json(directory / ENTRY, _Inputs).inputs.values())
    except UserError:
        return ()


def stored_facts(directory: Path) -> tuple[str, float] | None:
    """Return the label and the seconds of an entry, without its files; None if unreadable."""
    try:
        facts = read_json(directory / ENTRY, _Facts)
    except UserError:
        return None
    return facts.label, facts.seconds


def _first_line(error: Exception) -> str:
    return printable_text(str(error).partition("\n")[0])


def entry_facts(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON without its path, for a result's provenance."""
    return {name: value for name, value in vars(entry).items() if name != "directory"}


def files_digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one SHA-256 for several files, from the hashes that an entry records."""
    lines = "".join(f"{files[name]['sha256']}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file; raises NotPlain for a FIFO, a device or a sparse giant."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum_line(directory: Path, name: str) -> str:
    """Return the line that `sha256sum` prints for the file `name` of a folder."""
    return f"{sha256_of(directory / name)}  {name}\n"


def _differs(path: Path, recorded: Mapping[str, Any]) -> bool:
    """True if a file is not as recorded; a file of another size is not read."""
    return path.stat().st_size != recorded.get("bytes") or hash_and_size(path) != recorded


def hash_and_size(path: Path) -> dict[str, Any]:
    """Return a file's hash and size, as an entry records them."""
    return {"sha256": sha256_of(path), "bytes": path.stat().st_size}


def hash_files(directory: Path) -> dict[str, dict[str, Any]]:
    """Return the hash and size of every file below a folder, by its name."""
    return {name: hash_and_size(directory / name) for name in files_in(directory)}


def files_in(directory: Path) -> list[str]:
    """Return the names of all files below a folder, relative to it."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(directory)) for path in files)
