"""Content-addressed store: a result is written to a temporary folder, hashed and renamed.

`<root>/<stage>/<key>/` has a result's files and its entry (see `entries`), verified on load. The
rename alone makes a result exist, so a killed run leaves no partial result. Checkpoints of
unfinished stages are in `<root>/scratch/<key>/`.
"""

import os
import platform
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from filelock import BaseFileLock, FileLock, SoftFileLease

from draftmark import environment
from draftmark.store.entries import ENTRY, SEAL, Entry, checksum_line, hash_files, read_entry
from draftmark.store.files import (
    explain_full_disk,
    remove_odd_files,
    write_atomically,
    write_json,
)
from draftmark.store.graph import Node, topological_order

# Stages import these from here, and their keys depend on their code.
__all__ = ["Store", "explain_full_disk", "write_json"]

# Folders of the root that are not stages.
ASIDE, CHECKS, FAILURES, LOCKS = "damaged", "checks", "failures", "locks"
LOGS, RUNS = "logs", "runs"
SCRATCH, WRITING = "scratch", "tmp"
SHARED = "shared"  # this file marks a store that several machines use
LEASE_S = 30.0  # a lock of a shared store expires unless its process renews it within this time


class Store:
    """The folder of all results. Several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: dict[str, Entry] = {}

    def directory(self, node: Node) -> Path:
        """Return the folder of the node's result, which may not exist yet."""
        return node.existing_folder or self.root / node.stage / node.key

    def scratch(self, node: Node) -> Path:
        """Return the folder for the node's checkpoints, plain files alone; create it if missing."""
        directory = self.root / SCRATCH / node.key
        remove_odd_files(directory)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def logs(self, node: Node) -> Path:
        """Return the folder for the node's tracker logs, plain files alone; it may not exist.

        The logs are not part of the node's result.
        """
        name = re.sub(r"[^a-z0-9]+", "-", node.label.lower()).strip("-")
        directory = self.root / LOGS / f"{name[:60]}-{node.key[:8]}"
        remove_odd_files(directory)
        return directory

    def has(self, node: Node) -> bool:
        """True if the node's result is in the store; its files are not verified."""
        return node.existing_folder is not None or (self.directory(node) / ENTRY).is_file()

    def missing(self, nodes: Iterable[Node]) -> dict[str, Node]:
        """Return by key the nodes without a result, with those they depend on; inputs first."""
        return {node.key: node for node in topological_order(nodes) if not self.has(node)}

    def load(self, node: Node) -> Entry:
        """Return the verified entry of a node.

        Raises KeyError if there is none, Damaged if a file's hash is not the recorded one.
        """
        if node.key in self._verified:
            return self._verified[node.key]
        folder = self.directory(node)
        if node.existing_folder:
            entry = Entry(folder, node.key, node.stage, node.label, node.settings, {}, {}, 0.0, {})
        elif self.has(node):
            entry = read_entry(folder)
            with suppress(OSError):  # the store is read-only
                os.utime(folder / SEAL)  # garbage collection reads when an entry was last used
        else:
            raise KeyError(node.key)
        self._verified[node.key] = entry
        return entry

    def set_aside(self, directory: Path) -> Path:
        """Move the folder of a damaged entry to `damaged/` for inspection; return its new path."""
        self._verified.pop(directory.name, None)
        (self.root / ASIDE).mkdir(parents=True, exist_ok=True)
        prefix = f"{directory.parent.name}-{directory.name[:12]}-"
        return directory.replace(Path(mkdtemp(prefix=prefix, dir=self.root / ASIDE)) / "entry")

    def note_failure(self, node: Node, details: str) -> Path:
        """Write the traceback of a bug to a file; return its path."""
        path = self.root / FAILURES / f"{node.key}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, details.encode())
        return path

    def share(self) -> None:
        """Mark the store as used by several machines, for good."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_atomically(self.root / SHARED, b"")

    def lock(self, key: str) -> BaseFileLock:
        """Return the lock that a process holds while it makes the result of this key.

        The system releases the lock when its process ends. It cannot do so across machines: a
        shared store uses leases, which expire unless they are renewed.
        """
        locks = self.root / LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        if (self.root / SHARED).exists():
            return SoftFileLease(locks / f"{key}.lease", lease_duration=LEASE_S)
        return FileLock(locks / f"{key}.lock")

    def new_directory(self, node: Node) -> Path:
        """Return an empty folder for the node's result; the caller must hold the node's lock."""
        writing = self.root / WRITING
        writing.mkdir(parents=True, exist_ok=True)
        for stale in writing.glob(f"{node.key}*"):  # its process was killed, or lost its lease
            remove_odd_files(stale)
            shutil.rmtree(stale, ignore_errors=True)
        directory = writing / f"{node.key}-{platform.node()}-{os.getpid()}"
        directory.mkdir()
        return directory

    def commit(self, node: Node, directory: Path, *, seconds: float) -> Entry:
        """Move a finished folder into place, delete the node's checkpoints, return the entry."""
        entry = {
            "key": node.key,
            "stage": node.stage,
            "label": node.label,
            "settings": node.settings,
            "inputs": {name: upstream.key for name, upstream in node.inputs.items()},
            "files": hash_files(directory),
            "seconds": seconds,
            "manifest": environment.manifest(),
        }
        write_json(directory / ENTRY, entry)
        write_atomically(directory / SEAL, checksum_line(directory, ENTRY).encode())
        final = self.directory(node)
        final.parent.mkdir(parents=True, exist_ok=True)
        if self.has(node):  # our lease expired, and another process made the result
            shutil.rmtree(directory)
        else:
            if final.exists():
                self.set_aside(final)
            directory.replace(final)
        shutil.rmtree(self.root / SCRATCH / node.key, ignore_errors=True)
        return self.load(node)
