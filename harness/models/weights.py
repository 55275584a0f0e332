"""Checks that the files of a model's folder are weights, and all of them, before any is loaded.

Only headers are read, without torch: a plan checks every model in a moment.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from draftmark.errors import UserError
from draftmark.models.config_shapes import check_configs
from draftmark.store.plain_files import check_plain_folder

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_POINTER = b"version https://git-lfs.github.com/spec/"
_ADAPTER = "adapter_config.json"
_OTHER_FORMATS = (".bin", ".pt", ".pth", ".ckpt", ".gguf", ".ggml", ".h5", ".msgpack", ".onnx")
_FLOATS = ("F64", "F32", "F16", "BF16")
_PACKED = (".qweight", ".weight_packed", ".weight_scale_inv", ".absmax")
_MAX_HEADER = 100_000_000  # bytes, as in safetensors itself


def check_folder(directory: Path) -> None:
    """Raise UserError, with the fix, unless a folder holds the whole weights of a model.

    It may hold an adapter, git-lfs pointers, another format, quantised weights, malformed configs,
    or files that are cut or missing.
    """
    check_plain_folder(directory)
    _check_kind(directory)
    check_configs(directory)
    headers = {path.name: _header(path) for path in _weight_files(directory)}
    _check_quantisation(directory, headers)
    _check_index(directory, headers)


def _check_kind(directory: Path) -> None:
    if (directory / _ADAPTER).is_file():
        base = _read(directory / _ADAPTER).get("base_model_name_or_path")
        raise UserError(
            f"{directory} is a LoRA adapter of {base!r}, not a model; merge it into that model "
            "(merge_and_unload of PEFT), save the result with save_pretrained, and name its folder."
        )
    for path in sorted(directory.iterdir()):
        if path.is_file() and _starts_with(path, _POINTER):
            raise UserError(
                f"{path} is a git-lfs pointer, not the file itself; run `git lfs pull` where it "
                "was checked out, or download the model again."
            )
    if not (directory / "config.json").is_file():
        raise UserError(f"{directory} has no config.json; name the folder of a model.")


def _starts_with(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def _weight_files(directory: Path) -> list[Path]:
    """Return the files that are loaded; raises UserError for missing ones and other formats."""
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS]
    if (directory / INDEX).is_file():
        named = sorted(set(_weight_map(directory).values()))
        missing = [name for name in named if not (directory / name).is_file()]
        if missing:
            raise UserError(
                f"{directory} lacks {len(missing)} of the {len(named)} files of its weights "
                f"(first {missing[0]}); copy or download the model again."
            )
        return [directory / name for name in named]
    endings = (*_OTHER_FORMATS, ".safetensors")
    others = [path.name for path in sorted(directory.iterdir()) if path.name.endswith(endings)]
    raise UserError(
        f"{directory} has no {WEIGHTS} and no {INDEX} (it has {', '.join(others[:3]) or 'none'}), "
        "and no other .safetensors file or format of weights is loaded; load the model with "
        "transformers and save it with save_pretrained."
    )


def _weight_map(directory: Path) -> Mapping[str, str]:
    """Return the file of each tensor, as the index has it."""
    files = _read(directory / INDEX).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise UserError(f"{directory / INDEX} names no files; download the model again.")
    return files


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}; download the model again.") from error
    return value if isinstance(value, dict) else {}


def _header(path: Path) -> Mapping[str, Any]:
    """Return the header of a safetensors file; raises UserError if the file is cut."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(size, _MAX_HEADER):
                raise ValueError(f"its header would have {length} bytes")
            header = json.loads(file.read(length))
        tensors = {name: facts for name, facts in header.items() if name != "__metadata__"}
        end = 8 + length + max((facts["data_offsets"][1] for facts in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        reason = f"{path} is not a whole safetensors file ({error})"
        raise UserError(f"{reason}; copy or download it again.") from error
    if end != size:
        raise UserError(
            f"{path} has {size} bytes and its header names {end}: it is cut or damaged; copy or "
            "download it again."
        )
    return tensors


def _check_quantisation(directory: Path, headers: Mapping[str, Mapping[str, Any]]) -> None:
    config = _read(directory / "config.json")
    settings = config.get("quantization_config") or config.get("quantization")
    packed = next(_quantised_names(headers), None)
    if not settings and packed is None:
        return
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    raise UserError(
        f"{directory} holds quantised weights ({method or packed or 'see its config.json'}), which "
        "draftmark does not load; name the model that they were made from, or dequantise them and "
        "save the result with save_pretrained."
    )


def _quantised_names(headers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the names of tensors that only quantised weights have."""
    for header in headers.values():
        for name, facts in header.items():
            odd = name.endswith(".weight") and facts.get("dtype") not in _FLOATS
            if odd or name.endswith(_PACKED):
                yield name


def _check_index(directory: Path, headers: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UserError if a file lacks tensors that the index says it has."""
    if len(headers) == 1 and WEIGHTS in headers:
        return
    files = _weight_map(directory)
    missing = [name for name, file in files.items() if name not in headers[file]]
    if missing:
        raise UserError(
            f"{directory}: {len(missing)} of {len(files)} tensors are not in the files that "
            f"{INDEX} names (first {missing[0]}); copy or download the model again."
        )
