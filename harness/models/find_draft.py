"""Finds a draft or target by what a user calls it: a language model or a trained head.

The model is here or on the hub, where a name without a revision stands for the branch `main`. Of a

"""

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from draftmark.data.hub.failures import HubError, Repository
from draftmark.data.hub.files import fetch_files, list_files, resolve
from draftmark.errors import UserError
from draftmark.models.cache import commit_of, is_cached, read_record
from draftmark.models.catalogue import Published
from draftmark.models.files import local_model, published_model, resolve_model
from draftmark.models.weights import holds_head
from draftmark.progress import Progress

_ON_HUB = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(?P<revision>@.+)?")
_SNAPSHOT = re.compile(r"models--[^/]+--(?P<name>[^/]+)/snapshots/[0-9a-f]{40}$")
_BRANCH = "@main"


@dataclass(frozen=True)
class FoundModel:
    """A model or trained head that is on this machine.

    `reference` stands for the same files later: a whole path, a name of draftmark, or
    ORGANISATION/NAME@COMMIT.
    """

    reference: str
    is_head: bool


def find_model(reference: str, progress: Progress) -> FoundModel:
    """Return a model or head, downloading it if it is missing.

    Raises UserError for a name of no model, and for one that the hub does not give.
    """
    name = str(Path(reference).expanduser()) if reference.startswith("~") else reference
    on_hub = None if Path(name).is_dir() else _ON_HUB.fullmatch(name)
    if on_hub and not on_hub["revision"]:
        name += _BRANCH
    try:
        is_head = _is_head(name, progress)
        folder = resolve_model(name, progress, head=is_head)
    except UserError as error:
        cause = f"Cannot fetch {name}: " if isinstance(error, HubError) else ""
        here = f" There is no folder {reference!r} here either." if on_hub else ""
        raise UserError(f"{cause}{error}{here}") from error
    if on_hub and is_cached(folder) and (commit := commit_of(read_record(folder)["source"])):
        return FoundModel(f"{on_hub['repository']}@{commit}", is_head)
    return FoundModel(str(folder.resolve()) if Path(name).is_dir() else name, is_head)


def _is_head(name: str, progress: Progress) -> bool:
    """True if a name is that of a trained head; one on the hub is asked for its small files."""
    if folder := local_model(name):
        return holds_head(folder, [path.name for path in folder.iterdir()])
    published = published_model(name)
    if not isinstance(published, Published) or published.weights_sha256:
        return False  # of the catalogue
    commit = resolve(Repository(published.repository), published.revision, progress.say)
    listed = {file.path: file for file in list_files(commit, progress.say)}
    if "config.json" not in listed:
        return False
    with TemporaryDirectory() as folder_of_config:
        fetch_files(commit, [listed["config.json"]], progress, folder=Path(folder_of_config))
        return holds_head(Path(folder_of_config), listed)


def model_name_parts(reference: str) -> tuple[str, ...]:
    """Return the parts of a model's name, the last of which people call it by.

    A snapshot in the hub's cache has the repository's name.
    """
    if Path(reference).is_dir() or _ON_HUB.fullmatch(reference) is None:
        path = Path(reference).expanduser().resolve()
        if snapshot := _SNAPSHOT.search(path.as_posix()):
            return (snapshot["name"],)
        return path.parts[1:] if "/" in reference or Path(reference).is_dir() else (reference,)
    return tuple(reference.partition("@")[0].split("/"))
