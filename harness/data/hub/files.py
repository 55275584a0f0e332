"""The files of one commit on the hub: their list, and copies with the hash that the list has.

The hub's own cache (HF_HOME) holds the files. The list of a commit's files is kept there too, so a
second use asks the hub nothing.
"""

import errno
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from draftmark.data.hub.failures import Damaged, HubError, Repository, endpoint, offline
from draftmark.progress import Progress, Step
from draftmark.store.entries import sha256_of
from draftmark.store.plain_files import read_plain
from draftmark.store.store import explain_full_disk, write_json
from draftmark.text import format_bytes

MAX_DOWNLOADS = 2  # of a file whose hash is wrong
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFile:
    """A file of a commit, as the hub lists it."""

    path: str
    size: int  # bytes
    blob_id: str  # git's name of the file, or of its pointer
    sha256: str | None = None  # of a large file, which git itself does not hold

    def matches(self, copy: Path) -> bool:
        """True if a copy has the listed size and hash."""
        if copy.stat().st_size != self.size:
            return False
        if self.sha256:
            return sha256_of(copy) == self.sha256
        data = copy.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == self.blob_id


@dataclass(frozen=True)
class Commit:
    """One commit of a repository on the hub."""

    repository: Repository
    hash: str

    def __str__(self) -> str:
        return f"{self.repository.name}@{self.hash[:7]}"

    @property
    def folder(self) -> Path:
        """The folder of the repository in the hub's cache."""
        from huggingface_hub import constants

        name = self.repository.name.replace("/", "--")
        return Path(constants.HF_HUB_CACHE) / f"{self.repository.kind}s--{name}"

    @property
    def list_file(self) -> Path:
        """The file that keeps the list of the commit's files."""
        return self.folder / "draftmark" / f"{self.hash}.json"


def is_offline() -> bool:
    """True if HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def resolve(repository: Repository, revision: str, say: Callable[[str], None]) -> Commit:
    """Return the commit of a branch, a tag or a commit; raises HubError."""
    if _COMMIT.fullmatch(revision):
        return Commit(repository, revision)
    if is_offline():
        raise HubError(offline(f"{repository.name}@{revision}"))

    def call() -> str:
        facts = _client().repo_info(repository.name, revision=revision, repo_type=repository.kind)
        return str(facts.sha)

    return Commit(repository, _ask(call, repository, revision, say))


def kept_files(commit: Commit) -> tuple[HubFile, ...] | None:
    """Return the list of a commit's files that is kept in the cache, or None."""
    try:
        listed = json.loads(read_plain(commit.list_file))
        return tuple(HubFile(**item) for item in listed["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def listing_endpoint(commit: Commit) -> str:
    """Return the address of the hub that gave the kept list; this process's hub if none is kept."""
    try:
        return str(json.loads(read_plain(commit.list_file))["endpoint"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return endpoint()


def list_files(commit: Commit, say: Callable[[str], None]) -> tuple[HubFile, ...]:
    """Return the list of a commit's files: the kept one, else the hub's; raises HubError."""
    if (known := kept_files(commit)) is not None:
        return known
    if is_offline():
        raise HubError(offline(str(commit)))

    def call() -> list[Any]:
        where = {"repo_type": commit.repository.kind, "revision": commit.hash}
        return list(_client().list_repo_tree(commit.repository.name, recursive=True, **where))

    entries = _ask(call, commit.repository, commit.hash, say)
    files = tuple(_hub_file(entry) for entry in entries if hasattr(entry, "blob_id"))
    _keep_list(commit, files)
    return files


def _keep_list(commit: Commit, files: Iterable[HubFile]) -> None:
    """Keep the list of a commit's files, unless the cache is one that others fill."""
    kept = {"endpoint": endpoint(), "files": [asdict(file) for file in files]}
    try:
        commit.list_file.parent.mkdir(parents=True, exist_ok=True)
        write_json(commit.list_file, kept)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise


def _hub_file(entry: Any) -> HubFile:
    sha256 = entry.lfs.sha256 if entry.lfs else None
    return HubFile(entry.path, entry.size, entry.blob_id, sha256)


def cached_copy(commit: Commit, file: HubFile) -> Path | None:
    """Return the cached copy of a file, which may be damaged, or None."""
    copy = commit.folder / "snapshots" / commit.hash / file.path
    return copy if copy.is_file() else None


def whole_copies(commit: Commit, files: Iterable[HubFile]) -> dict[HubFile, Path]:
    """Return the cached copies whose hash is the listed one."""
    found = {file: cached_copy(commit, file) for file in files}
    return {file: copy for file, copy in found.items() if copy and file.matches(copy)}


def fetch_files(
    commit: Commit, files: Sequence[HubFile], progress: Progress, *, folder: Path | None = None
) -> dict[HubFile, Path]:
    """Return a copy with the listed hash of each file, in the cache or in `folder`.

    What is missing or damaged is downloaded, after a line with its size and the free disk. Raises
    HubError, Damaged if a hash is wrong again, and UserError if the disk is too small.
    """
    held = _whole_in(folder, files) if folder else whole_copies(commit, files)
    wanted = [file for file in files if file not in held]
    if not wanted:
        return held
    _check_offline(commit, wanted, folder)
    place = folder or commit.folder
    size = sum(file.size for file in wanted)
    _announce(commit, len(wanted), size, place, progress.say)
    try:
        with progress.download(str(commit), size) as step:
            return held | {
                file: _fetch(commit, file, folder, progress.say, step) for file in wanted
            }
    except OSError as error:
        if full := explain_full_disk(error, place):
            raise full from error
        raise


def _announce(
    commit: Commit, count: int, size: int, place: Path, say: Callable[[str], None]
) -> None:
    """Print the size of a download and the free disk; raises HubError if the disk is too small."""
    free = _free_bytes(place)
    what = f"{count} file{'' if count == 1 else 's'} ({format_bytes(size)}) of {commit}"
    if size > free:
        raise HubError(
            f"The disk of {place} is too small for {what} ({format_bytes(free)} free); free some "
            "space, or move the cache to another disk."
        )
    say(f"Fetching {what} from {endpoint()} ({format_bytes(free)} free) ...")


def _whole_in(folder: Path, files: Iterable[HubFile]) -> dict[HubFile, Path]:
    copies = {file: folder / file.path for file in files}
    return {file: copy for file, copy in copies.items() if copy.is_file() and file.matches(copy)}


def _check_offline(commit: Commit, wanted: Sequence[HubFile], folder: Path | None) -> None:
    """Raise what a machine that must not ask the hub gets for missing and damaged files."""
    if not is_offline():
        return
    if not folder and (damaged := [file for file in wanted if cached_copy(commit, file)]):
        raise Damaged(
            f"{cached_copy(commit, damaged[0])} does not have the hash that the hub lists, and "
            "HF_HUB_OFFLINE is set; unset it to fetch the file again."
        )
    raise HubError(offline(f"{wanted[0].path} of {commit}"))


def _fetch(
    commit: Commit,
    file: HubFile,
    folder: Path | None,
    say: Callable[[str], None],
    step: Step,
) -> Path:
    """Return a downloaded file with the listed hash."""
    for tried in range(1, MAX_DOWNLOADS + 1):
        bars = _Bars(step)
        call = partial(_download, commit, file, folder, bars)
        copy = Path(_ask(call, commit.repository, commit.hash, say))
        if file.matches(copy):
            return copy
        bars.start_again()
        again = "; it is fetched again" if tried < MAX_DOWNLOADS else ""
        say(f"{file.path} of {commit} does not have the hash that the hub lists{again}.")
    copy.resolve().unlink()  # what a link in the cache points to
    copy.unlink(missing_ok=True)
    raise Damaged(
        f"{file.path} of {commit} came {MAX_DOWNLOADS} times without the hash that the hub lists; "
        "check the proxies and HF_ENDPOINT, and run again."
    )


def _download(commit: Commit, file: HubFile, folder: Path | None, bars: "_Bars") -> str:
    import huggingface_hub

    bars.start_again()  # an earlier try may have been cut
    present = (folder / file.path).exists() if folder else cached_copy(commit, file) is not None
    path: str = huggingface_hub.hf_hub_download(
        commit.repository.name,
        file.path,
        repo_type=commit.repository.kind,
        revision=commit.hash,
        local_dir=folder,
        force_download=present,
        library_name="draftmark",
        tqdm_class=bars,
    )
    return path


class _Bars:
    """Gives the client bars that count the bytes of one file in a step."""

    def __init__(self, step: Step) -> None:
        self._step, self._done = step, 0

    def __call__(self, *, initial: int = 0, **_: Any) -> "_Bars":
        self.update(initial)
        return self

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, amount: float | None = 1) -> None:
        """Count bytes; fewer than 0 if the client starts a file again."""
        self._done += int(amount or 0)
        self._step.advance(int(amount or 0))

    def start_again(self) -> None:
        """Take back all bytes of the file."""
        self.update(-self._done)


def _free_bytes(folder: Path) -> int:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def _client() -> Any:
    import huggingface_hub

    return huggingface_hub.HfApi(library_name="draftmark")


def _ask(
    call: Callable[[], Any], repository: Repository, revision: str, say: Callable[[str], None]
) -> Any:
    from draftmark.data.hub.session import ask  # loads the client of HTTP

    return ask(call, repository, revision, say)
