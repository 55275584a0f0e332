"""The cache of models: what is in it, where each model came from, and that it is unchanged.

The folder of a model has the name of what it holds, `org/model@<commit>`. Other names by which it
was asked for, such as `org/model@main`, are links to it. `draftmark.json` in the folder has the
source and the SHA-256 of every file, as they were when the files were held against the hub's
hashes. A model is complete or absent: a download has a folder of its own until it is whole.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import platformdirs
from filelock import BaseFileLock, FileLock

from draftmark.data.hub.failures import Damaged
from draftmark.errors import UserError, unknown_name_error
from draftmark.store.entries import sha256_of
from draftmark.store.plain_files import read_plain
from draftmark.store.store import write_json

CACHE_VARIABLE = "DRAFTMARK_CACHE"
RECORD = "draftmark.json"
PARTIAL = ".partial"  # ends the folder of a download that is not whole
DOWNLOADS = ".downloads"  # ends the folder of a package that is not dequantised yet
_COMMIT_DIGITS = 40


@dataclass(frozen=True)
class CachedModel:
    """A model in the cache, or a download that was interrupted."""

    folder: Path
    name: str  # "org/model@<commit>", or of a package
    source: str  # "hub org/model@<commit>", "PyPI package version, ..."; "" if not whole
    other_names: tuple[str, ...]  # by which it was asked for

    @property
    def commit(self) -> str | None:
        """The commit on the hub; None if it did not come from there, or is not recorded."""
        return commit_of(self.source)

    @property
    def num_bytes(self) -> int:
        """The size of all files."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def cache_directory() -> Path:
    """Return the model cache: DRAFTMARK_CACHE, else the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else platformdirs.user_cache_path("draftmark")


def check_cache_writable() -> None:
    """Raise UserError unless models can be put into the cache."""
    folder = cache_directory() / "models"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
    else:
        reason = None if os.access(folder, os.W_OK) else os.strerror(errno.EACCES)
    if reason:
        raise UserError(
            f"Cannot write to the model cache {folder}: {reason}; set {CACHE_VARIABLE} to another "
            "folder."
        )


def model_directory(name: str) -> Path:
    """Return the folder of a model in the cache, or the link to it; neither need exist."""
    return cache_directory() / "models" / quote(name, safe="@")


def path_beside(name: str, ending: str) -> Path:
    """Return the path of a file or folder beside a model's folder."""
    return model_directory(name).with_name(f"{quote(name, safe='@')}{ending}")


def lock_model(directory: Path) -> BaseFileLock:
    """Return the lock that a process holds while it makes or checks a cached model."""
    locks = cache_directory() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / f"{directory.name}.lock")


def cached_model(name: str) -> Path | None:
    """Return the folder of a complete model in the cache, or None."""
    directory = model_directory(name)
    if directory.is_symlink():
        directory = directory.parent / directory.readlink()
    return directory if is_cached(directory) else None


def is_cached(directory: Path) -> bool:
    """True for the folder of a complete model in the cache; a copy elsewhere is a plain folder."""
    inside = directory.resolve().parent == model_directory("").resolve()
    return inside and (directory / RECORD).is_file()


def read_record(directory: Path) -> Mapping[str, Any]:
    """Return the record of a cached model; raises Damaged if it cannot be read."""
    try:
        record = json.loads(read_plain(directory / RECORD))
        return {**record, "files": dict(record["files"]), "source": str(record["source"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{directory / RECORD} cannot be read ({error})"
        raise Damaged(f"{reason}; delete {directory} and fetch again.") from error


def commit_of(source: str) -> str | None:
    """Return the commit in a record's source, or None.

    Versions before commits were resolved recorded the branch, which does not name a commit.
    """
    kind, _, name = source.partition(" ")
    revision = name.rpartition("@")[2]
    whole = len(revision) == _COMMIT_DIGITS and set(revision) <= set("0123456789abcdef")
    return revision if kind == "hub" and whole else None


def check_unchanged(directory: Path, hashes: Mapping[str, str]) -> None:
    """Raise Damaged if files of a cached model, by name, are not those that were fetched.

    A file that was not fetched is refused as well: the model would not be what its name says.
    """
    record = read_record(directory)
    fetched, name = record["files"], record["name"]
    fix = f"run `draftmark fetch {name}`, which fetches it again"
    for file in fetched:
        if not (directory / file).is_file():
            raise Damaged(f"{directory / file} is missing; {fix}.")
        if hashes.get(file) != fetched[file]:
            raise Damaged(f"{directory / file} differs from the fetched file; {fix}.")
    folders = {path.name for path in directory.iterdir() if path.is_dir()}
    if more := sorted((hashes.keys() | folders) - fetched.keys()):
        raise Damaged(
            f"{directory / more[0]} was not fetched with {name}; to change a model, copy its "
            "folder and name the copy."
        )


def verify_model(directory: Path) -> None:
    """Raise Damaged if a file of a cached model differs from what was fetched."""
    check_unchanged(directory, {name: sha256_of(directory / name) for name in _files(directory)})


def _files(directory: Path) -> list[str]:
    return [p.name for p in sorted(directory.iterdir()) if p.is_file() and p.name != RECORD]


def keep_model(partial: Path, name: str, source: str, **facts: Any) -> Path:
    """Move a whole download into its place in the cache, with its record; return its folder."""
    files = {file: sha256_of(partial / file) for file in _files(partial)}
    write_json(partial / RECORD, {"name": name, "source": source, "files": files, **facts})
    directory = model_directory(name)
    shutil.rmtree(directory, ignore_errors=True)
    partial.replace(directory)
    return directory


def link_model(name: str, directory: Path) -> None:
    """Let a name lead to a model's folder in the cache."""
    link = model_directory(name)
    if link == directory:
        return
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)  # it has no record
    temporary = path_beside(name, f".link-{os.getpid()}")
    temporary.symlink_to(directory.name)
    temporary.replace(link)


def set_aside(directory: Path) -> None:
    """Turn a damaged model into a download that is not whole, whose good files are kept."""
    partial = directory.with_name(directory.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    (directory / RECORD).unlink()
    directory.replace(partial)


def cached_models() -> list[CachedModel]:
    """Return the models in the cache and the interrupted downloads, by name."""
    return sorted(_cached_models(), key=lambda model: (model.name, model.source))


def _cached_models() -> Iterator[CachedModel]:
    folder = cache_directory() / "models"
    paths = list(folder.iterdir()) if folder.is_dir() else []
    links = {path: path.readlink().name for path in paths if path.is_symlink()}
    for path in paths:
        if path not in links and path.is_dir():
            names = sorted(unquote(link.name) for link, to in links.items() if to == path.name)
            yield CachedModel(
                path,
                unquote(path.name.removesuffix(PARTIAL).removesuffix(DOWNLOADS)),
                _source(path),
                tuple(names),
            )


def _source(directory: Path) -> str:
    if not (directory / RECORD).is_file():
        return ""
    with suppress(Damaged):
        return str(read_record(directory)["source"])
    return "damaged"


def remove_model(name: str) -> CachedModel:
    """Delete a model with all names that lead to it, and its interrupted downloads; return it.

    Raises UserError with the names that are known.
    """
    known = cached_models()
    named = [model for model in known if name in (model.name, *model.other_names)]
    if not named:
        names = {each for model in known for each in (model.name, *model.other_names)}
        raise unknown_name_error("cached model", name, names)
    for model in known:
        if model.name == named[0].name:
            for other in model.other_names:
                model_directory(other).unlink()
            shutil.rmtree(model.folder)
    return named[0]
