"""Entries of the store: what says of a result how it came to be, and that it is as it was written.

`entry.json` has the hash of every file beside it, `entry.sha256` that of `entry.json`, as
`sha256sum` writes it: no bit changes anywhere without showing. Of a light entry files were left
out, of which `entry.light` has the names: it is good for what reads the others.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ENTRY, SEAL, LIGHT = "entry.json", "entry.sha256", "entry.light"
ASIDE = "damaged"  # the folder of a store for what is not as it was written


@dataclass(frozen=True)
class Entry:
    """A result in the store: its folder and what is known of how it came to be."""

    directory: Path
    key: str
    stage: str
    label: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]  # name -> {"sha256", "bytes"}
    seconds: float
    manifest: Mapping[str, Any]


class Damaged(Exception):
    """An entry whose files are not what they were when they were written."""


def read_entry(directory: Path) -> Entry:
    """Return the verified entry in a folder `<stage>/<key>`, which must be there.

    Raises Damaged if anything in the folder is not as it was written.
    """
    entry, left_out = read_facts(directory), left_out_of(directory)
    there = {*files_in(directory)} - {ENTRY, SEAL, LIGHT}
    absent = sorted(entry.files.keys() - there)
    if missing := [name for name in absent if name not in left_out]:
        raise Damaged(f"{directory / missing[0]} is missing")
    if (directory / LIGHT).exists() and (directory / LIGHT).read_bytes() != listed(absent):
        raise Damaged(f"{directory / LIGHT} is not what was written: other files are left out")
    for name in sorted(entry.files.keys() & there):
        if describe(directory / name) != entry.files[name]:
            raise Damaged(f"{directory / name} is not what was written: its hash differs")
    if strange := sorted(there - entry.files.keys()):
        raise Damaged(f"{directory / strange[0]} is not of this result")
    return entry


def read_facts(directory: Path) -> Entry:
    """Return the entry in a folder `<stage>/<key>` without a look at its files.

    Raises Damaged if `entry.json` is not as it was written.
    """
    try:
        if (directory / SEAL).read_bytes() != seal(directory / ENTRY).encode():
            raise Damaged(f"{directory / ENTRY} is not what was written: its hash differs")
        entry = Entry(directory=directory, **json.loads((directory / ENTRY).read_text("utf-8")))
    except (FileNotFoundError, ValueError, TypeError, RecursionError) as error:
        raise Damaged(f"{directory / ENTRY} does not read: {error}") from error
    if (entry.stage, entry.key) != (directory.parent.name, directory.name):
        raise Damaged(f"{directory / ENTRY} is of another result: {entry.stage} {entry.key}")
    return entry


def left_out_of(directory: Path) -> list[str]:
    """Return the names of the files that were left out of an entry; none of a whole one."""
    if not (directory / LIGHT).is_file():
        return []
    return (directory / LIGHT).read_text("utf-8", "replace").splitlines()


def listed(names: Iterable[str]) -> bytes:
    """Return what `entry.light` is when these files are left out."""
    return "".join(f"{name}\n" for name in sorted(names)).encode()


def complete(light: Path, again: Path, made: Mapping[str, Mapping[str, Any]]) -> bool:
    """Put what a light entry has into the folder where its result was made again; say whether.

    Only if what was left out came out as it was: then all else stays as it was as well, such as how
    long it took and where. `made` are the new files, as an entry records them.
    """
    left_out = left_out_of(light)
    if not left_out:
        return False
    with suppress(Damaged):
        files = read_entry(light).files
        same = all(made.get(name) == files[name] for name in left_out)
        if same and made.keys() == files.keys():
            for name in {*files_in(light)} - {LIGHT}:
                shutil.copyfile(light / name, again / name)
            return True
    return False


def set_aside(root: Path, directory: Path) -> Path:
    """Move a damaged entry of a store out of the way, to be looked at; return where it went."""
    (root / ASIDE).mkdir(parents=True, exist_ok=True)
    prefix = f"{directory.parent.name}-{directory.name[:12]}-"
    to = Path(tempfile.mkdtemp(prefix=prefix, dir=root / ASIDE))
    directory.replace(to / "entry")
    return to / "entry"


def entry_facts(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON, for a result's provenance: no paths."""
    facts = asdict(entry)
    del facts["directory"]
    return facts


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(path: Path) -> str:
    """Return what `sha256sum` says of a file."""
    return f"{sha256_of(path)}  {path.name}\n"


def describe(path: Path) -> dict[str, Any]:
    """Return what an entry records of a file."""
    return {"sha256": sha256_of(path), "bytes": path.stat().st_size}


def files_in(directory: Path) -> list[str]:
    """Return the names of all files in a folder, however deep."""
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )
