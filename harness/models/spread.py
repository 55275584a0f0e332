"""Models larger than one device: spread by memory over GPUs, processor and disk, by Accelerate.

Layers that no GPU has room for stay in memory or on disk, and come to a device for their pass
alone. Their parameters have no data ("meta" tensors) between passes: read them with `weights_of`.
A spread model is for reading; its numbers are those of the whole model, up to the rounding of the
devices that compute them.
"""

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

from draftmark.config.model_sections import Pair
from draftmark.errors import UserError
from draftmark.models.loading import load_whole
from draftmark.models.quantised import quantisation
from draftmark.types import Placement

_SHARE = 0.9  # of a device's free memory, where a recipe sets no limit: activations need the rest


def pick_device() -> str:
    """Return the fastest device of this machine."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def target_placement(pair: Pair, dtype: str = "float32") -> Placement:
    """Return where and in which dtype the target of a pair is loaded; drafts have its `whole`."""
    return Placement(pick_device(), dtype, pair.trust_remote_code, pair.memory)


def load_placed(directory: Path, placement: Placement) -> Any:
    """Return the transformers model of a folder, on the devices of a placement.

    A spread model answers on one device and has no gradients. Raises UserError as `load_whole`
    does, and for a limit of a GPU that the machine lacks.
    """
    load = partial(load_whole, directory, placement.dtype)
    trusted = placement.trust_remote_code
    if placement.memory is None and quantisation(directory):
        return load(trust_remote_code=trusted, device_map={"": placement.device})
    if placement.memory is None:
        return load(trust_remote_code=trusted).to(placement.device)
    folder = tempfile.mkdtemp(prefix="draftmark-weights-")  # of weights that loading converts
    with ExitStack() as undone:
        undone.callback(shutil.rmtree, folder, ignore_errors=True)
        limits = _limits(placement.memory) if placement.memory else None
        options = {"device_map": "auto", "offload_folder": folder, "max_memory": limits}
        model = load(trust_remote_code=trusted, **options)
        weakref.finalize(model, undone.pop_all().close)
    model.requires_grad_(False)
    if is_spread(model):
        _answer_on_main_device(model)
    return model


def _limits(memory: tuple[tuple[str, str], ...]) -> dict[int | str, int]:
    """Return the bytes that the weights may take on each device."""
    from accelerate.utils import convert_file_size_to_int, get_max_memory

    limits = {device: int(_SHARE * free) for device, free in get_max_memory().items()}
    for name, size in memory:
        device = int(name) if name.isdecimal() else name
        if device not in limits:
            raise UserError(
                f"placement limits device {name!r}, which this machine does not have; it has "
                f"{', '.join(map(str, limits))}."
            )
        limits[device] = convert_file_size_to_int(size)
    return limits


def _answer_on_main_device(model: Any) -> None:
    """Let the embedding, the body and the head return their outputs on the main device."""
    from accelerate.utils import send_to_device

    device, skipped = main_device(model), model._skip_keys_device_placement

    def move(module: Any, inputs: Any, output: Any) -> Any:
        return send_to_device(output, device, skip_keys=skipped)

    for part in (model.get_input_embeddings(), model.base_model, model.get_output_embeddings()):
        part.register_forward_hook(move)


def main_device(model: Any) -> torch.device:
    """Return the device of a model's inputs and outputs: a spread one's first GPU, if it has any.

    Of a whole model it is the head's; the body may have been dropped.
    """
    weight: torch.Tensor = model.get_output_embeddings().weight
    if not weight.is_meta and not is_spread(model):
        return weight.device
    gpus = [place for place in model.hf_device_map.values() if place not in ("cpu", "disk")]
    return torch.device(gpus[0] if gpus else "cpu")


def is_spread(model: Any) -> bool:
    """True if a model is on several devices, or some of its weights come from memory or disk."""
    places = set(getattr(model, "hf_device_map", {}).values())
    return len(places) > 1 or "disk" in places


def weights_of(module: Any, without: str | None = None) -> dict[str, torch.Tensor]:
    """Return a module's weights and buffers by name; those that are offloaded are read.

    Names that begin with `without` are left out.
    """
    state = {
        name: value
        for name, value in module.state_dict().items()
        if without is None or not name.startswith(without)
    }
    for path, part in module.named_modules():
        for name, _ in part.named_parameters(recurse=False):
            full = f"{path}.{name}" if path else name
            if full in state and state[full].is_meta:
                state[full] = next(_offloaded(part))[name]
    return state


def _offloaded(module: Any) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield the offloaded weights of one module by name, as Accelerate's hooks hold them."""
    hook = module._hf_hook
    for each in getattr(hook, "hooks", (hook,)):
        if getattr(each, "offload", False):
            yield each.weights_map


def keep_head(model: Any) -> None:
    """Free a spread model's weights, but for those of its head, which come to the main device."""
    from accelerate.hooks import remove_hook_from_module

    bring(model.get_output_embeddings(), main_device(model))
    remove_hook_from_module(model, recurse=True)
    del model.hf_device_map
    model.base_model.to("meta")


def bring(part: Any, device: torch.device) -> None:
    """Copy the weights of one part of a model, such as its head, to a device, for good."""
    from accelerate.hooks import remove_hook_from_module

    weights = weights_of(part)
    remove_hook_from_module(part)
    for name, value in weights.items():
        setattr(part, name, torch.nn.Parameter(value.to(device).clone(), requires_grad=False))
