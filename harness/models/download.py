"""Downloads of models from the Hugging Face hub.

A branch is resolved to a commit first, and a download belongs to that commit. Small files come
before weights, so that most of what draftmark cannot use is refused before the large download.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from draftmark.data.hub.failures import Damaged, HubError, Repository, endpoint
from draftmark.data.hub.files import Commit, HubFile, fetch_files, list_files, resolve
from draftmark.errors import UserError
from draftmark.models.cache import (
    PARTIAL,
    RECORD,
    cached_model,
    keep_model,
    lock_model,
    model_directory,
    path_beside,
)
from draftmark.models.catalogue import Published
from draftmark.models.token_ids import end_tokens, read_config
from draftmark.models.weights import INDEX, WEIGHTS, check_folder, holds_head, weight_files
from draftmark.progress import Progress

# Beside weights, a model needs its settings and its tokenizer: never pickles, never code.
_SUFFIXES = (".json", ".jinja", ".txt", ".model", ".tiktoken")
_MORE_TEMPLATES = "additional_chat_templates/"


def fetch_from_hub(published: Published, progress: Progress, *, head: bool | None = False) -> Path:
    """Return the cached folder of a commit's model or trained head, downloading what is missing.

    `head` None takes either. Raises HubError if the hub does not give it, Damaged if its files do
    not have the hub's hashes, and UserError if draftmark cannot use it.
    """
    commit = resolve(Repository(published.repository), published.revision, progress.say)
    name = f"{published.repository}@{commit.hash}"
    with lock_model(model_directory(name)):
        return cached_model(name) or _download(commit, name, published, progress, head)


def _download(
    commit: Commit, name: str, published: Published, progress: Progress, head: bool | None
) -> Path:
    listed = {file.path: file for file in list_files(commit, progress.say)}
    partial = path_beside(name, PARTIAL)
    partial.mkdir(parents=True, exist_ok=True)
    with _refused_by_name(partial, name):
        small = [file for path, file in listed.items() if _is_small(path, listed)]
        fetch_files(commit, small, progress, folder=partial)
        is_head = holds_head(partial, listed) if head is None else head
        weights = [listed[path] for path in _usable_weights(partial, listed, is_head)]
        _check_published(weights, published)
        fetch_files(commit, weights, progress, folder=partial)
        _delete_others(partial, [*small, *weights])
        # The weights show whether a model without a tokenizer is a head.
        check_folder(partial, head=holds_head(partial, listed) if head is None else head)
    hashes = {file.path: file.sha256 or file.blob_id for file in (*small, *weights)}
    return keep_model(partial, name, f"hub {name}", endpoint=endpoint(), hub_hashes=hashes)


def _is_small(path: str, listed: Mapping[str, HubFile]) -> bool:
    """True for the top-level files that a model needs beside its weights."""
    if path.endswith(".index.json"):
        return path == INDEX and WEIGHTS not in listed
    return "/" not in path and path.endswith(_SUFFIXES) and path != RECORD


def _usable_weights(partial: Path, listed: Mapping[str, HubFile], head: bool) -> list[str]:
    """Return the names of the weight files; raises UserError if draftmark cannot use the model."""
    weights = weight_files(partial, [path for path in listed if "/" not in path], head=head)
    if head:
        return weights
    end_tokens(partial)
    named = [path for path in listed if path.startswith(_MORE_TEMPLATES)]
    has_default = "chat_template.jinja" in listed or "chat_template" in read_config(
        partial / "tokenizer_config.json"
    )
    if named and not has_default:
        raise UserError(
            f"{partial} has chat templates ({named[0]}) and no default one; download it into a "
            "folder, copy one of them to chat_template.jinja, and name that folder."
        )
    return weights


def _check_published(weights: Sequence[HubFile], published: Published) -> None:
    """Raise Damaged if the hub lists other weights than the catalogue has."""
    expected = published.weights_sha256
    if expected and [file.sha256 for file in weights] != [expected]:
        raise Damaged(
            f"The hub lists weights of {published.repository} with another hash than draftmark's "
            "catalogue; check HF_ENDPOINT."
        )


def _delete_others(partial: Path, files: Sequence[HubFile]) -> None:
    """Delete what is in a download's folder and does not belong to the model."""
    for path in partial.iterdir():
        if path.is_dir():
            shutil.rmtree(path)  # notes of the hub's client
        elif path.name not in {file.path for file in files}:
            path.unlink()


@contextmanager
def _refused_by_name(partial: Path, name: str) -> Iterator[None]:
    """Name the model, not its folder, in a refusal, and delete what was downloaded of it.

    What a failure of the hub interrupts is kept: the next fetch goes on from it.
    """
    try:
        yield
    except (HubError, Damaged):
        if not any(path.is_file() for path in partial.iterdir()):
            shutil.rmtree(partial)
        raise
    except UserError as error:
        shutil.rmtree(partial, ignore_errors=True)
        sentence = str(error).replace(f"{partial}/", f"{name}/").replace(str(partial), name)
        raise UserError(_with_fix_on_hub(sentence)) from error


def _with_fix_on_hub(sentence: str) -> str:
    """Return a refusal of files with the fix for files that are so on the hub."""
    reason, _, fix = sentence.rpartition("; ")
    if "again" in fix:
        return f"{reason}; it is so on the hub: take another revision or another model."
    if fix.startswith("fix "):
        return f"{reason}; download it into a folder, {fix.removesuffix('.')}, and name the folder."
    return sentence
