"""Checks that a model's folder has whole weights and a tokenizer, before anything is loaded.

Only headers are read, without torch: a plan checks every model in a moment. A download checks the
names of a model's files, and the small ones among them, before it fetches the weights.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from draftmark.errors import UserError
from draftmark.models.config_shapes import check_configs
from draftmark.models.heads.block_layouts import read_trained_head
from draftmark.models.heads.head_layouts import EAGLE_ARCHITECTURES, is_head
from draftmark.models.quantised import check_ends, check_untrained, quantisation
from draftmark.models.token_ids import read_config
from draftmark.models.weight_headers import TensorFacts, read_header
from draftmark.store.plain_files import check_plain_folder

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_POINTER = b"version https://git-lfs.github.com/spec/"
_SAFE = ".safetensors"
_ADAPTER = "adapter_config.json"
_OTHER_FORMATS = (".bin", ".pt", ".pth", ".ckpt", ".gguf", ".ggml", ".h5", ".msgpack", ".onnx")
_TOKENIZERS = ("tokenizer.json", "tekken.json", "vocab.txt")  # each is enough by itself
_TOKENIZER_ENDINGS = (".model", ".tiktoken")
_BPE = ("vocab.json", "merges.txt")
_FLOATS = ("F64", "F32", "F16", "BF16")
_PACKED = (".qweight", ".weight_packed", ".weight_scale_inv", ".absmax", ".SCB", ".W_q")
_MODEL_FIX = "load the model with transformers and save it with save_pretrained"
_HEAD_FIX = (
    "load the tensors where you trust the file (torch.load, weights_only=True) and save them with "
    f"safetensors.torch.save_file as {WEIGHTS}"
)
_LANGUAGE_MODEL, _JOINS = "ForCausalLM", "fc.weight"
Headers = Mapping[str, Mapping[str, TensorFacts]]  # the tensors of each file


def check_folder(directory: Path, *, head: bool = False) -> None:
    """Raise UserError, with the fix, unless a folder holds a tokenizer and a model's whole weights.

    It may hold an adapter, git-lfs pointers, another format, weights quantised in an unknown way,
    malformed configs, or files that are cut or missing. A trained head (`head`) needs no tokenizer.
    """
    check_plain_folder(directory)
    names = [path.name for path in sorted(directory.iterdir()) if path.is_file()]
    files = weight_files(directory, names, head=head)
    headers = {name: read_header(directory / name) for name in files}
    if not head:
        _check_layers(directory, sum(map(len, headers.values())))
    _check_tensors(directory, headers)
    _check_index(directory, headers)


def weight_files(directory: Path, names: Collection[str], *, head: bool = False) -> list[str]:
    """Return the names of a model's weight files; `names` are its files, here or on the hub.

    The files of weights need not be in the folder. Raises UserError if the other files, or all
    names, show that draftmark cannot load the model, or the trained head.
    """
    _check_kind(directory, names)
    check_configs(directory)
    _check_config(directory)
    if head:
        check_untrained(directory, "it is a trained head", "Name the head before quantisation.")
        read_trained_head(directory, str(directory))
    else:
        _check_is_model(directory)
        _check_tokenizer(directory, names)
    return named_weights(directory, names, head=head)


def _check_kind(directory: Path, names: Collection[str]) -> None:
    if _ADAPTER in names:
        base = read_config(directory / _ADAPTER).get("base_model_name_or_path")
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
    if "config.json" not in names:
        raise UserError(f"{directory} has no config.json; name the folder of a model.")


def _check_tokenizer(directory: Path, names: Collection[str]) -> None:
    """Raise UserError if no file has a vocabulary: transformers would make an empty tokenizer."""
    own_code = "auto_map" in read_config(directory / "tokenizer_config.json")  # if allowed
    if not (_has_vocabulary(names) or own_code):
        raise UserError(
            f"{directory} has no tokenizer (tokenizer.json, tokenizer.model, or vocab.json with "
            "merges.txt); save the tokenizer of the model that it was made from into a folder with "
            "the weights, and name that folder."
        )


def _has_vocabulary(names: Collection[str]) -> bool:
    return any(name in _TOKENIZERS or name.endswith(_TOKENIZER_ENDINGS) for name in names) or all(
        name in names for name in _BPE
    )


def holds_head(directory: Path, names: Collection[str]) -> bool:
    """True if a folder holds a trained head of any kind, and no language model.

    `names` are the model's files, here or on the hub; of these `directory` needs config.json alone.
    The config of an EAGLE-1 head is a language model's of one layer: it has no tokenizer, and its
    file of weights, if that is here, has its name for the layer that joins token and state.
    """
    config = read_config(directory / "config.json")
    if is_head(config) or "config.json" not in names:
        return is_head(config)
    named = config.get("architectures")
    architectures = [str(name) for name in named] if isinstance(named, list) else []
    if _has_vocabulary(names) or not architectures:
        return False
    if not set(architectures) <= set(EAGLE_ARCHITECTURES):
        return not any(name.endswith(_LANGUAGE_MODEL) for name in architectures)
    if config.get("num_hidden_layers", 1) != 1:
        return False
    weights = directory / WEIGHTS
    return not weights.is_file() or _JOINS in read_header(weights)


def _check_config(directory: Path) -> None:
    """Raise UserError if config.json is of weights quantised in an unknown way or other files."""
    config = read_config(directory / "config.json")
    quantisation(directory)
    if (named := config.get("transformers_weights")) not in (None, WEIGHTS):
        raise UserError(
            f"{directory / 'config.json'} names the weights {named!r} (transformers_weights), and "
            f"only {WEIGHTS} or {INDEX} is loaded; load the model with transformers and save it "
            "with save_pretrained."
        )


def _check_is_model(directory: Path) -> None:
    """Raise UserError if config.json is that of a feature head."""
    config = read_config(directory / "config.json")
    if is_head(config):
        kind = config.get("speculators_model_type") or config["architectures"]
        raise UserError(
            f"{directory} is a feature head ({kind}), not a language model; name it as draft = "
            "{ head = ... }, or name a language model."
        )


def check_own_code(directory: Path) -> None:
    """Raise UserError if the code that a model comes with is not beside its files."""
    for file in ("config.json", "tokenizer_config.json"):
        code = str(read_config(directory / file).get("auto_map", ""))
        if "--" in code:
            raise UserError(
                f"{directory / file} names code of another repository ({code[:80]}), which is in "
                "no hash of the model; copy the code beside the weights and name it in auto_map."
            )


def _starts_with(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def named_weights(directory: Path, names: Collection[str], *, head: bool = False) -> list[str]:
    """Return the names of the weight files; raises UserError for missing ones and other formats."""
    if WEIGHTS in names:
        return [WEIGHTS]
    if INDEX in names:
        named = sorted(set(_weight_map(directory).values()))
        missing = [name for name in named if name not in names]
        if missing:
            raise UserError(
                f"{directory} lacks {len(missing)} of the {len(named)} files of its weights "
                f"(first {missing[0][:80]}); copy or download the model again."
            )
        return named
    endings = (*_OTHER_FORMATS, _SAFE)
    others = [name for name in sorted(names) if name.endswith(endings)]
    raise UserError(
        f"{directory} has no {WEIGHTS} and no {INDEX} (it has {', '.join(others[:3]) or 'none'}), "
        "and no other .safetensors file or format of weights is loaded; "
        f"{_HEAD_FIX if head else _MODEL_FIX}."
    )


def _weight_map(directory: Path) -> Mapping[str, str]:
    """Return the file of each tensor, as the index has it; all files are beside the index."""
    files = read_config(directory / INDEX).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise UserError(f"{directory / INDEX} names no files; download the model again.")
    for name in files.values():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(_SAFE):
            raise UserError(
                f"{directory / INDEX} names {repr(name)[:80]}, which is not a .safetensors file "
                "beside it; load the model with transformers and save it with save_pretrained."
            )
    return files


def _check_layers(directory: Path, num_tensors: int) -> None:
    """Raise UserError for more layers than tensors: the library makes layer after layer first."""
    config = read_config(directory / "config.json")
    nested = config.get("text_config") or {}
    named = (
        part.get(name) for part in (config, nested) for name in ("num_hidden_layers", "n_layer")
    )
    layers = max((number for number in named if isinstance(number, int)), default=0)
    if layers > num_tensors:
        raise UserError(
            f"{directory / 'config.json'} has {layers} layers, and the files of weights "
            f"{num_tensors} tensors; copy or download the model again."
        )


def _check_tensors(directory: Path, headers: Headers) -> None:
    """Raise UserError if tensors are quantised and the config does not say how."""
    if quantisation(directory):
        check_ends(directory, headers)
    elif packed := next(_quantised_names(headers), None):
        raise UserError(
            f"{directory} holds quantised weights ({packed}) and its config.json has no "
            "quantization_config; name the model that they were made from, or dequantise them and "
            "save the result with save_pretrained."
        )


def _quantised_names(headers: Headers) -> Iterator[str]:
    """Yield the names of tensors that only quantised weights have."""
    for header in headers.values():
        for name, facts in header.items():
            odd = name.endswith(".weight") and facts.dtype not in _FLOATS
            if odd or name.endswith(_PACKED):
                yield name


def _check_index(directory: Path, headers: Headers) -> None:
    """Raise UserError if a file lacks tensors that the index says it has."""
    if len(headers) == 1 and WEIGHTS in headers:
        return
    files = _weight_map(directory)
    missing = [name for name, file in files.items() if name not in headers[file]]
    if missing:
        raise UserError(
            f"{directory}: {len(missing)} of {len(files)} tensors are not in the files that "
            f"{INDEX} names (first {missing[0][:80]}); copy or download the model again."
        )
