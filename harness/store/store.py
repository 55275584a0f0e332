"""Content-addressed results: written to a temporary folder, hashed, renamed; verified on load.

`<root>/<stage>/<key>/` holds a result's files and `entry.json`: the manifest, the settings, the
keys of the inputs and each file's hash; `entry.sha256` has its own. A folder without a valid entry
is never trusted. The rename is the only step that makes a result exist, so a run killed at any
point leaves none half written. Checkpoints of unfinished work live in `<root>/scratch/<key>/`.
"""

import errno
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLease

from draftmark import environment
from draftmark.errors import UserError
from draftmark.store.entries import (
    ENTRY,
    LIGHT,
    SEAL,
    Entry,
    complete,
    describe,
    files_in,
    read_entry,
    seal,
    set_aside,
)
from draftmark.store.graph import Node, topological

# What stands in the root beside the stages.
FAILURES, LOCKS, LOGS, RUNS = "failures", "locks", "logs", "runs"
SCRATCH, WRITING = "scratch", "tmp"
SHARED = "shared"  # the file that says that several machines use a store
LEASE_S = 30.0  # how long the holder of a lock on another machine may show no sign of life


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
        directory = self.root / SCRATCH / node.key
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def logs(self, node: Node) -> Path:
        """Return the folder for what trackers write of a node's work; it is no part of a result."""
        name = re.sub(r"[^a-z0-9]+", "-", node.label.lower()).strip("-")
        return self.root / LOGS / f"{name[:60]}-{node.key[:8]}"

    def has(self, node: Node, *, whole: bool = False) -> bool:
        """Say whether a result is there, without verifying it; a light one is not there whole."""
        if node.given is not None:
            return True
        directory = self.directory(node)
        return (directory / ENTRY).is_file() and not (whole and (directory / LIGHT).exists())

    def missing(self, nodes: Iterable[Node]) -> dict[str, Node]:
        """Return by key what has to be made for nodes and all that they rest on, inputs first.

        That is what is not there, and what is there light and something is to be made of.
        """
        read: set[str] = set()
        found = {}
        for node in reversed(list(topological(nodes))):
            if not self.has(node, whole=node.key in read):
                found[node.key] = node
                read |= {upstream.key for upstream in node.inputs.values()}
        return dict(reversed(found.items()))

    def load(self, node: Node) -> Entry:
        """Return the verified entry of a node.

        Raises KeyError if there is none, Damaged if a file's hash is not the recorded one.
        """
        if node.key in self._verified:
            return self._verified[node.key]
        whole = self.has(node, whole=True)
        entry = self._verify(node)
        if whole:  # a light one may be made whole, by anybody
            self._verified[node.key] = entry
        return entry

    def set_aside(self, node: Node) -> Path:
        """Move a damaged entry out of the way, to be looked at; return where it went."""
        self._verified.pop(node.key, None)
        return set_aside(self.root, self.directory(node))

    def note_failure(self, node: Node, details: str) -> Path:
        """Keep the traceback of a bug; return its file."""
        path = self.root / FAILURES / f"{node.key}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(details, encoding="utf-8")
        return path

    def share(self) -> None:
        """Let several machines use the store from now on; it stays so."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / SHARED).touch()

    def lock(self, node: Node) -> BaseFileLock:
        """Return the lock that one process holds while it makes the node's result."""
        return self.lock_of(node.key)

    def lock_of(self, key: str) -> BaseFileLock:
        """Return the lock of a result by its key; it is free as soon as its holder is dead.

        The system sees to that. Of other machines it may never hear: a shared store has leases,
        which end if they are not renewed.
        """
        locks = self.root / LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        if (self.root / SHARED).exists():
            return SoftFileLease(locks / f"{key}.lease", lease_duration=LEASE_S)
        return FileLock(locks / f"{key}.lock")

    def new_directory(self, node: Node) -> Path:
        """Return an empty folder to write the node's result into; the caller holds its lock."""
        writing = self.root / WRITING
        writing.mkdir(parents=True, exist_ok=True)
        for left in writing.glob(f"{node.key}*"):  # by a killed run, or one that lost its lease
            shutil.rmtree(left, ignore_errors=True)
        directory = writing / f"{node.key}-{platform.node()}-{os.getpid()}"
        directory.mkdir()
        return directory

    def commit(self, node: Node, directory: Path, *, seconds: float) -> Entry:
        """Make a finished folder the node's result; its checkpoints are deleted."""
        files = {name: describe(directory / name) for name in files_in(directory)}
        if not complete(self.directory(node), directory, files):
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
            _write_durably(directory / ENTRY, json.dumps(entry, indent=1).encode())
            _write_durably(directory / SEAL, seal(directory / ENTRY).encode())
        self._place(node, directory)
        shutil.rmtree(self.root / SCRATCH / node.key, ignore_errors=True)
        return self.load(node)

    def _place(self, node: Node, directory: Path) -> None:
        """Move a finished folder to where the node's result is, in place of a light one."""
        final = self.directory(node)
        final.parent.mkdir(parents=True, exist_ok=True)
        if self.has(node, whole=True):  # by one that took our lease over, thinking us dead
            shutil.rmtree(directory)
            return
        if self.has(node):
            # Of a run that is killed between these two it is made again, as of any killed run.
            light = final.replace(directory.with_name(f"{directory.name}-light"))
            directory.replace(final)
            shutil.rmtree(light)
            return
        if final.exists():
            self.set_aside(node)
        directory.replace(final)

    def _verify(self, node: Node) -> Entry:
        directory = self.directory(node)
        if node.given:
            return Entry(
                directory, node.key, node.stage, node.label, node.settings, {}, {}, 0.0, {}
            )
        if not (directory / ENTRY).is_file():
            raise KeyError(node.key)
        entry = read_entry(directory)
        with suppress(OSError):  # a store that is only read
            os.utime(directory / SEAL)  # when it was used last
        return entry


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in full or not at all."""
    write_whole(path, json.dumps(value, indent=1, allow_nan=False).encode())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in full or not at all; a link of that name is replaced, not followed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write_durably(temporary, data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def explain_full_disk(error: Exception, where: Path) -> UserError | None:
    """Return the error to show if the disk is full, else None."""
    number = getattr(error, "errno", None)
    # safetensors raises an error of its own, which has the system's words and no number.
    if number not in (errno.ENOSPC, errno.EDQUOT) and os.strerror(errno.ENOSPC) not in str(error):
        return None
    there = next(path for path in (where, *where.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    return UserError(
        f"The disk of {where} is full ({free / 1e9:.2f} GB free). Nothing finished is lost: make "
        f"room (draftmark store gc), or name another folder with --store, then run again."
    )


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
