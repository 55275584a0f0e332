"""A device of its own on a machine without one: an operation that mixes it with the CPU fails.

torch's fake tensors cannot do this. They hold no values, which sampling, verification and the cache
read, and a build of torch for CPUs ends the process when a fake CUDA tensor needs a gradient. Here
a tensor on the device `pretended` holds a tensor of the CPU. Every operation computes on the held
tensors, and follows CUDA's rules: tensors of both devices do not meet, save a CPU tensor without
dimensions, copies, and the indices of an indexing; a random stream belongs to the device.

The device is registered for the whole process, so such tests have a process of their own.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretended"
_ATEN = torch.ops.aten
_LIBRARY = torch.library.Library("aten", "IMPL")
_BELOW = (_ATEN.empty_strided.default, _ATEN.copy_.default)
# What CUDA allows to have tensors of both devices: copies, and indices on the CPU.
_COPIES = {_ATEN.copy_.default, _ATEN._copy_from.default}
_INDEXES = {
    overload: fixed
    for name, fixed in (("index", 1), ("index_put", 3), ("index_put_", 3), ("_index_put_impl_", 3))
    for overload in (
        getattr(getattr(_ATEN, name), each) for each in getattr(_ATEN, name).overloads()
    )
}


class MixedDevicesError(RuntimeError):
    """An operation has tensors of the CPU and of the device."""


class Pretended(torch.Tensor):
    """A tensor on the device, with its values on the CPU."""

    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> "Pretended":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(NAME, 0),
        )
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        """Return the values; torch refuses that to subclasses."""
        return self.values.tolist()

    def untyped_storage(self) -> Any:
        """Return the storage of the values, by which weights that share one are known."""
        return self.values.untyped_storage()

    def data_ptr(self) -> int:
        """Return where the values are."""
        return self.values.data_ptr()

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        """Weights are swapped when a module moves, so tied ones stay tied."""
        return ["values"], None

    @staticmethod
    def __tensor_unflatten__(inner: Mapping[str, torch.Tensor], *_: Any) -> "Pretended":
        return Pretended(inner["values"])

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        copied: torch.Tensor = self.detach().clone()
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __repr__(self, **_: Any) -> str:
        return f"{self.values!r} on {NAME}"


class _Factories(TorchDispatchMode):
    """Operations without a tensor, such as `torch.arange`, reach no tensor's own dispatch."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:  # in inference mode, operations come whole
                return func.decompose(*args, **(kwargs or {}))
        return _run(func, args, kwargs or {})


class _Module:
    """What torch asks of a device's module."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def manual_seed_all(self, seed: int) -> None:
        """Random numbers come from the CPU's stream."""

    def _is_in_bad_fork(self) -> bool:
        return False

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


@contextmanager
def pretended_device() -> Iterator[str]:
    """Register the device, if this process has not, and yield its name."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
        for operation in _BELOW:
            _LIBRARY.impl(operation, partial(_run_below, operation), "PrivateUse1")
    with _Factories():
        yield NAME


def _run_below(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Run what `torch.tensor` calls below the tensors' own dispatch."""
    return _run(operation, args, kwargs)


def _run(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    if func is _ATEN._fused_sdp_choice.default:
        return 0  # the formula of attention, in operations that reach this function
    tensors, given = _tensors((args, kwargs)), dict(kwargs)
    on_device = _check(func, args, kwargs, tensors)
    if given.get("device") is not None:
        on_device = torch.device(given["device"]).type == NAME
        given["device"] = torch.device("cpu") if on_device else given["device"]
    made = func(*_mapped(_values, args), **_mapped(_values, given))
    if not on_device:
        return made
    known = {id(each.values): each for each in tensors if isinstance(each, Pretended)}
    return _mapped(lambda value: known[id(value)] if id(value) in known else Pretended(value), made)


def _check(func: Any, args: Any, kwargs: Mapping[str, Any], tensors: list[torch.Tensor]) -> bool:
    """Return if an operation is the device's; raises MixedDevicesError if it is of both."""
    if func in _COPIES:
        return isinstance(args[0], Pretended)
    if func in _INDEXES:
        tensors = _tensors((args[0], *args[2 : _INDEXES[func]]))  # all but the indices
    own = any(isinstance(each, Pretended) for each in tensors)
    if not own:
        return False
    others = [each for each in tensors if not isinstance(each, Pretended) and each.dim()]
    if others:
        shapes = ", ".join(str(list(each.shape)) for each in others)
        raise MixedDevicesError(f"{func}: {shapes} on the CPU, beside tensors on {NAME}")
    if kwargs.get("generator") is not None:
        raise MixedDevicesError(f"{func}: a random stream of the CPU draws for {NAME}")
    return True


def _tensors(value: Any) -> list[torch.Tensor]:
    """Return the tensors of an operation's arguments."""
    match value:
        case torch.Tensor():
            return [value]
        case dict():
            return _tensors(tuple(value.values()))
        case tuple() | list():
            return [found for each in value for found in _tensors(each)]
    return []


def _mapped(change: Callable[[torch.Tensor], Any], value: Any) -> Any:
    """Return arguments or results with their tensors changed."""
    match value:
        case torch.Tensor():
            return change(value)
        case dict():
            return {name: _mapped(change, each) for name, each in value.items()}
        case tuple() | list():
            return type(value)(_mapped(change, each) for each in value)
    return value


def _values(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.values if isinstance(tensor, Pretended) else tensor
