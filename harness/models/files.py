"""Model folders: where a reference leads, what names a folder's contents, which tokens end a text.

No torch here: a plan needs all of this, and nothing of the weights but their hash.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from draftmark.errors import UserError
from draftmark.models import download
from draftmark.progress import Progress
from draftmark.store.entries import sha256_of
from draftmark.store.graph import digest


def resolve(reference: str, progress: Progress) -> Path:
    """Return the folder of a model: a path, one of the project's own, or fetched by name.

    Raises UserError with the choices if there is no such model.
    """
    return at_hand(reference) or download.fetch(reference, progress)


def at_hand(reference: str) -> Path | None:
    """Return the folder of a model if it is on this machine."""
    if Path(reference).is_dir():
        return Path(reference)
    return own_models().get(reference) or download.fetched(reference)


def own_models() -> dict[str, Path]:
    """Return the small models that come with draftmark, by name."""
    samples = Path(str(resources.files("draftmark.tasks"))) / "samples"
    return {path.parent.name: path.parent for path in samples.glob("*/config.json")}


def model_digest(directory: Path) -> str:
    """Return a hash of what decides a model's outputs: weights, config, tokenizer, template.

    Raises UserError if the folder has no safetensors.
    """
    if not list(directory.glob("*.safetensors")):
        raise UserError(
            f"{directory} has no .safetensors file: draftmark loads no other weights; save the "
            "model with save_pretrained."
        )
    kept = [
        path
        for path in sorted(directory.iterdir())
        if path.suffix in (".safetensors", ".json", ".jinja", ".txt", ".model", ".py")
        and path.name != download.RECORD
    ]
    return digest({path.name: sha256_of(path) for path in kept})


def num_layers(directory: Path) -> int:
    """Return how many layers the model of a folder has; raises UserError if it does not say."""
    path = directory / "config.json"
    found = _facts(path)
    layers = found.get("num_hidden_layers", found.get("n_layer"))
    if not isinstance(layers, int):
        raise UserError(f"{path} names no number of layers; check the model's folder.")
    return layers


def end_tokens(directory: Path) -> frozenset[int]:
    """Return the ids that end a response, as the model's generation config says.

    Raises UserError if it names none.
    """
    for name in ("generation_config.json", "config.json"):
        path = directory / name
        found = _facts(path).get("eos_token_id")
        if found is not None:
            return frozenset([found] if isinstance(found, int) else found)
    raise UserError(f"{directory} names no end token (eos_token_id); mend generation_config.json.")


def _facts(path: Path) -> dict[str, Any]:
    """Return what a configuration says, nothing if it is not there; raises UserError."""
    try:
        found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} does not read: {error}; mend the model's folder.") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no table of settings; mend the model's folder.")
    return found
