"""Content-addressed results: written to a temporary folder, hashed, renamed; verified on load.

`<root>/<stage>/<key>/` holds a result's files and `entry.json`: the manifest, the settings, the
keys of the inputs and each file's hash. A folder without a valid entry is never trusted. The
rename is the only step that makes a result exist, so a run killed at any point leaves none half
written. Checkpoints of unfinished work live in `<root>/scratch/<key>/`.
"""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLease

from harness import environment
from harness.errors import UserError
from harness.graph import Node

ENTRY = "entry.json"
SHARED = "shared"  # the file that says that several machines use a store
LEASE_S = 30.0  # how long the holder of a lock on another machine may show no sign of life


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


class Store:
    """The folder of all results. Several processes may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: dict[str, Entry] = {}

    def directory(self, node: Node) -> Path:
        """Return where the node's result is, or will be."""
        return node.given or self.root / node.stage / node.key

    def scratch(self, node: Node) -> Path:
        """Return a folder for checkpoints of the node's unfinished work; made if missing."""
        directory = self.root / "scratch" / node.key
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def logs(self, node: Node) -> Path:
        """Return the folder for what trackers write of a node's work; it is no part of a result."""
        name = re.sub(r"[^a-z0-9]+", "-", node.label.lower()).strip("-")
        return self.root / "logs" / f"{name[:60]}-{node.key[:8]}"

    def has(self, node: Node) -> bool:
        """Say whether a result is there, without verifying it."""
        return node.given is not None or (self.directory(node) / ENTRY).is_file()

    def load(self, node: Node) -> Entry:
        """Return the verified entry of a node.

        Raises KeyError if there is none, Damaged if a file's hash is not the recorded one.
        """
        if node.key not in self._verified:
            self._verified[node.key] = self._verify(node)
        return self._verified[node.key]

    def set_aside(self, node: Node) -> Path:
        """Move a damaged entry out of the way, to be looked at; return where it went."""
        self._verified.pop(node.key, None)
        aside = self.root / "damaged"
        aside.mkdir(parents=True, exist_ok=True)
        to = Path(tempfile.mkdtemp(prefix=f"{node.stage}-{node.key[:12]}-", dir=aside))
        self.directory(node).replace(to / "entry")
        return to / "entry"

    def note_failure(self, node: Node, details: str) -> Path:
        """Keep the traceback of a bug; return its file."""
        path = self.root / "failures" / f"{node.key}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(details, encoding="utf-8")
        return path

    def share(self) -> None:
        """Let several machines use the store from now on; it stays so."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / SHARED).touch()

    def lock(self, node: Node) -> BaseFileLock:
        """Return the lock that one process holds while it makes the node's result.

        The system frees it if the holder dies. Of other machines it may never hear: a shared store
        has leases, which end if they are not renewed.
        """
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        if (self.root / SHARED).exists():
            return SoftFileLease(locks / f"{node.key}.lease", lease_duration=LEASE_S)
        return FileLock(locks / f"{node.key}.lock")

    def new_directory(self, node: Node) -> Path:
        """Return an empty folder to write the node's result into; the caller holds its lock."""
        tmp = self.root / "tmp"
        tmp.mkdir(parents=True, exist_ok=True)
        for left in tmp.glob(f"{node.key}*"):  # by a killed run, or by one that lost its lease
            shutil.rmtree(left, ignore_errors=True)
        directory = tmp / f"{node.key}-{platform.node()}-{os.getpid()}"
        directory.mkdir()
        return directory

    def commit(self, node: Node, directory: Path, *, seconds: float) -> Entry:
        """Make a finished folder the node's result; its checkpoints are deleted."""
        files = {name: _describe(directory / name) for name in _files_in(directory)}
        entry = {
            "key": node.key,
            "stage": node.stage,
            "label": node.label,
            "settings": node.settings,
            "inputs": {name: upstream.key for name, upstream in node.inputs.items()},
            "files": files,
            "seconds": seconds,
            "manifest": environment.manifest(),
        }
        _write_durably(directory / ENTRY, json.dumps(entry, indent=1))
        final = self.directory(node)
        final.parent.mkdir(parents=True, exist_ok=True)
        if (final / ENTRY).is_file():  # by one that took our lease over, thinking us dead
            shutil.rmtree(directory)
        else:
            if final.exists():
                self.set_aside(node)
            directory.replace(final)
        shutil.rmtree(self.root / "scratch" / node.key, ignore_errors=True)
        return self.load(node)

    def _verify(self, node: Node) -> Entry:
        directory = self.directory(node)
        if node.given:
            return Entry(
                directory, node.key, node.stage, node.label, node.settings, {}, {}, 0.0, {}
            )
        if not (directory / ENTRY).is_file():
            raise KeyError(node.key)
        try:
            entry = Entry(directory=directory, **json.loads((directory / ENTRY).read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise Damaged(f"{directory / ENTRY} does not read: {error}") from error
        if entry.key != node.key:
            raise Damaged(f"{directory / ENTRY} is of another result: {entry.key}")
        for name, recorded in entry.files.items():
            if not (directory / name).is_file():
                raise Damaged(f"{directory / name} is missing")
            if _describe(directory / name) != recorded:
                raise Damaged(f"{directory / name} is not what was written: its hash differs")
        return entry


def entry_facts(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON, for a result's provenance: no paths."""
    facts = asdict(entry)
    del facts["directory"]
    return facts


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in full or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    _write_durably(temporary, json.dumps(value, indent=1, allow_nan=False))
    temporary.replace(path)


def explain_full_disk(error: Exception, where: Path) -> UserError | None:
    """Return the error to show if the disk is full, else None."""
    number = getattr(error, "errno", None)
    # safetensors raises an error of its own, which has the system's words and no number.
    if number not in (errno.ENOSPC, errno.EDQUOT) and os.strerror(errno.ENOSPC) not in str(error):
        return None
    free = shutil.disk_usage(where if where.exists() else Path.cwd()).free
    return UserError(
        f"The disk of {where} is full ({free / 1e9:.2f} GB free). Nothing finished is lost: make "
        f"room or name another folder with --store, then run again."
    )


def _describe(path: Path) -> dict[str, Any]:
    return {"sha256": sha256_of(path), "bytes": path.stat().st_size}


def _files_in(directory: Path) -> list[str]:
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
