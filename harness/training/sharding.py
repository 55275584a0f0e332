"""Trains a model whose layers are spread over the processes: weights, gradients and moments.

PyTorch's FSDP2 (`fully_shard`): each process keeps its part of every layer, and a layer is put
together for its passes alone. Embedding, last norm and head are in every process. Gradients are
summed over the processes, as those of whole weights are. Importing this module loads none of it.
"""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from draftmark.training.process_group import ProcessGroup


@contextmanager
def sharded_layers(model: Any, team: ProcessGroup, *, wanted: bool) -> Iterator[None]:
    """Keep the layers of a model in parts in the block; at its end they are whole again.

    The model stays the same object, on the device where it was: a model that fits no GPU begins in
    the processor's memory. Its own layers have no data in the block.
    """
    if not wanted:
        yield
        return
    own, parts = dict(_layers(model)), {}
    device = model.get_output_embeddings().weight.device
    for name, layer in own.items():
        parts[name] = _shard(copy.deepcopy(layer), team)
        layer.to("meta")
        model.set_submodule(name, parts[name])
    if torch.cuda.is_available():
        model.to("cuda")
    yield
    for name, layer in own.items():
        _take_back(layer, parts[name], device)
        model.set_submodule(name, layer)
    model.to(device)


def _layers(model: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    for name, module in model.named_modules():
        if isinstance(module, GradientCheckpointingLayer):
            yield name, module


def _shard(layer: torch.nn.Module, team: ProcessGroup) -> torch.nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (team.count,))
    # Also after passes without a gradient: what validates and what trains are the same tensors.
    sharded: Any = fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    sharded.set_force_sum_reduction_for_comms(True)  # gloo has no product before the sum
    sharded.set_gradient_divide_factor(1.0)
    return cast(torch.nn.Module, sharded)


@torch.no_grad()
def _take_back(layer: torch.nn.Module, parts: torch.nn.Module, device: torch.device) -> None:
    """Give a layer the weights and buffers of its copy in parts, on a device."""
    tensors = dict([*parts.named_parameters(), *parts.named_buffers()])
    layer.to_empty(device=device)
    for name, value in (*layer.named_parameters(), *layer.named_buffers()):
        value.copy_(whole(tensors[name]))


def is_in_parts(tensor: torch.Tensor) -> bool:
    """True for a DTensor, of which each process keeps a part."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Any) -> torch.Tensor:
    """Return a tensor, put together if it is in parts: then every process must call this."""
    return cast(torch.Tensor, tensor.full_tensor() if is_in_parts(tensor) else tensor)


def part_like(value: torch.Tensor, tensor: Any) -> torch.Tensor:
    """Return a whole value in parts if a tensor of its shape is in parts."""
    if not is_in_parts(tensor) or is_in_parts(value) or value.shape != tensor.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    value = value.to(tensor.device)
    return distribute_tensor(value, tensor.device_mesh, tensor.placements, src_data_rank=None)


@torch.no_grad()
def fill(tensor: torch.Tensor, value: torch.Tensor) -> None:
    """Copy a whole value into a tensor, of which this process may keep a part."""
    own_part(tensor).copy_(own_part(part_like(value, tensor)))


def own_part(tensor: Any) -> torch.Tensor:
    """Return a tensor, or this process's part of it."""
    return cast(torch.Tensor, tensor.to_local() if is_in_parts(tensor) else tensor)


def parameter_groups(parameters: Iterable[torch.nn.Parameter]) -> list[dict[str, Any]]:
    """Return an optimiser's groups: one, or two if some weights are in parts.

    A fused optimiser updates one kind at a time.
    """
    kinds: dict[bool, list[torch.nn.Parameter]] = {}
    for parameter in parameters:
        kinds.setdefault(is_in_parts(parameter), []).append(parameter)
    return [{"params": kind} for kind in kinds.values()]
