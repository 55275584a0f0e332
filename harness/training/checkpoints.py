"""Checkpoints of an unfinished training: safetensors and JSON, complete or absent.

The weights that validated best are in a separate file, which is read only at the end. A checkpoint
stores the hashes of all these files, and a hash of the list of hashes; a damaged checkpoint is
deleted, never resumed.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from draftmark.store.entries import checksum_line, hash_and_size, hash_files
from draftmark.training.sharding import fill, is_in_parts, part_like, whole
from draftmark.types import Ledger

SEAL = "state.sha256"
_STATE = "state.json"
_WEIGHTS, _OPTIMISER = "weights.safetensors", "optimiser.safetensors"
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training, besides the weights and the optimiser's moments."""

    step: int
    ledger: Ledger
    history: tuple[Mapping[str, float], ...]
    best: int | None  # the step whose weights validated best
    loss: float | None = None


def save_checkpoint(
    directory: Path,
    state: Checkpoint,
    model: Any,
    optimiser: torch.optim.Optimizer,
    *,
    writes: bool = True,
) -> None:
    """Write a checkpoint atomically by a rename, then delete older ones.

    All processes of a sharded training call this, to put the weights together; one `writes`.
    """
    weights, moments = _changing(model), _moments(model, optimiser)
    if not writes:
        return
    temporary = directory / "writing"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _write(temporary, state, weights, moments)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)  # half a checkpoint must not fill the disk
        raise
    final = directory / f"step-{state.step:08d}"
    shutil.rmtree(final, ignore_errors=True)
    temporary.replace(final)
    for older in _checkpoints(directory)[:-1]:
        shutil.rmtree(older, ignore_errors=True)
    for path in set(directory.glob("best-*")) - {best_file(directory, state.best)}:
        path.unlink()


def save_best(directory: Path, step: int, model: Any, *, writes: bool = True) -> None:
    """Write the weights of a step as the best so far, atomically by a rename.

    All processes of a sharded training call this; one `writes`.
    """
    weights = _changing(model)
    if not writes:
        return
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / "writing.safetensors"
    save_file(weights, temporary)
    temporary.replace(best_file(directory, step))


@torch.no_grad()
def load_best(directory: Path, step: int, model: Any) -> None:
    """Copy the best weights into the model, one tensor at a time."""
    tensors = model.state_dict()
    with safe_open(best_file(directory, step), "pt") as file:
        for name in file.keys():  # noqa: SIM118  # a file, not a mapping
            fill(tensors[name], file.get_tensor(name))


def _write(directory: Path, state: Checkpoint, weights: Tensors, moments: Tensors) -> None:
    save_file(weights, directory / _WEIGHTS)
    save_file(moments, directory / _OPTIMISER)
    best = None if state.best is None else hash_and_size(best_file(directory.parent, state.best))
    facts = {
        "step": state.step,
        "best": state.best,
        "best_file": best,
        "loss": state.loss,
        "history": list(state.history),
        "ledger": asdict(state.ledger),
        "files": hash_files(directory),
    }
    (directory / _STATE).write_text(json.dumps(facts), encoding="utf-8")
    (directory / SEAL).write_text(checksum_line(directory, _STATE), encoding="utf-8")


def load_latest(directory: Path, model: Any, optimiser: torch.optim.Optimizer) -> Checkpoint | None:
    """Load the latest intact checkpoint into model and optimiser; return it, or None."""
    for path in reversed(_checkpoints(directory)):
        try:
            return _load(path, model, optimiser)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
            shutil.rmtree(path, ignore_errors=True)  # damaged: try an older one
    return None


def _load(path: Path, model: Any, optimiser: torch.optim.Optimizer) -> Checkpoint:
    if (path / SEAL).read_text("utf-8") != checksum_line(path, _STATE):
        raise ValueError(f"{path / _STATE} is damaged")
    facts = json.loads((path / _STATE).read_text("utf-8"))
    if facts["files"] != {name: hash_and_size(path / name) for name in facts["files"]}:
        raise ValueError(f"a file of {path} is damaged")
    weights = _retied(load_file(path / _WEIGHTS), model)
    moments = load_file(path / _OPTIMISER)
    best = facts["best"]
    if best is not None and hash_and_size(best_file(path.parent, best)) != facts["best_file"]:
        raise ValueError(f"{best_file(path.parent, best)} is damaged")
    ledger, history = Ledger(**facts["ledger"]), tuple(facts["history"])
    checkpoint = Checkpoint(facts["step"], ledger, history, best, facts["loss"])
    _check_shapes(weights, model)
    # Everything has been read; only now change model and optimiser.
    for name, tensor in model.state_dict().items():
        fill(tensor, weights[name])
    _restore(model, optimiser, moments)
    return checkpoint


def _check_shapes(weights: Tensors, model: Any) -> None:
    """Raise ValueError unless weights are those of a model, by name and shape."""
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in weights.items()} != wanted:
        raise ValueError("the weights are those of another model")


def _checkpoints(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("step-*") if (path / _STATE).is_file())


def best_file(directory: Path, step: int | None) -> Path:
    """Return the file of the weights that `save_best` wrote at a step."""
    return directory / f"best-{step if step is not None else 0:08d}.safetensors"


def _changing(model: Any) -> dict[str, torch.Tensor]:
    """Return what a training changes: the state without frozen weights, unless all are frozen."""
    weights = list(model.named_parameters(remove_duplicate=False))
    frozen = {name for name, weight in weights if not weight.requires_grad}
    kept = frozen if len(frozen) < len(weights) else set()
    state = model.state_dict().items()
    return _untied({name: whole(value) for name, value in state if name not in kept})


def _untied(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the first tensor of each storage: safetensors refuses tensors that share memory."""
    by_pointer: dict[int, str] = {}
    for name, tensor in weights.items():
        by_pointer.setdefault(tensor.data_ptr(), name)
    return {name: weights[name].contiguous() for name in by_pointer.values()}


def _retied(weights: Mapping[str, torch.Tensor], model: Any) -> dict[str, torch.Tensor]:
    """Return `weights` with the tied names that `_untied` dropped, and the model's frozen ones."""
    by_pointer: dict[int, str] = {}
    full = dict(weights)
    for name, tensor in model.state_dict().items():
        first = name if is_in_parts(tensor) else by_pointer.setdefault(tensor.data_ptr(), name)
        if name not in full:
            full[name] = full.get(first, tensor)
    return full


def _moments(model: Any, optimiser: torch.optim.Optimizer) -> Tensors:
    """Return the optimiser's moments of each weight that trains, numbered as in the model."""
    return {
        f"{index}.{name}": whole(value).contiguous()
        for index, parameter in enumerate(_trained(model))
        for name, value in optimiser.state.get(parameter, {}).items()
    } or {"none": torch.zeros(0)}


def _restore(model: Any, optimiser: torch.optim.Optimizer, moments: Tensors) -> None:
    parameters = [each for group in optimiser.param_groups for each in group["params"]]
    places = {id(parameter): place for place, parameter in enumerate(parameters)}
    trained, state = _trained(model), dict[int, dict[str, torch.Tensor]]()
    for name, value in moments.items():
        index, dot, key = name.partition(".")
        if dot:
            parameter = trained[int(index)]
            of_parameter = state.setdefault(places[id(parameter)], {})
            of_parameter[key] = part_like(value, parameter)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _trained(model: Any) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
