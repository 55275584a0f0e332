"""LoRA: low-rank adapters that train in place of a model's weights, made by peft.

An adapted linear layer computes W x + alpha / rank * B A x; W is frozen, A [R, D] and B [E, R]
train (Hu et al. 2022, arXiv 2106.09685, equation 3). As in peft, A is drawn at random and B is 0,
so a training begins at the model itself. At its end the adapters are added to W: what follows reads
an ordinary model.

Legend: R rank, D width that a layer reads, E width that it writes.
"""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from draftmark.config.lora import Lora
from draftmark.errors import UserError

if TYPE_CHECKING:
    import torch

_ADAPTER = "default"  # peft's name of a model's only adapter
_MARK = ".lora_"  # in the names of adapters' weights


def check_installed(lora: Lora | None) -> None:
    """Raise UserError if a recipe asks for LoRA and peft is missing."""
    if lora and importlib.util.find_spec("peft") is None:
        raise UserError(
            "lora needs the package peft, which is not installed; run `pip install peft`, or leave "
            "lora out."
        )


@contextmanager
def adapted(model: Any, lora: Lora | None, seed: int) -> Iterator[None]:
    """Let adapters train in the block, in place of the weights; add them to the weights at its end.

    `model` changes in place. Without `lora` its weights train as they are. Raises UserError for
    modules that the model lacks.
    """
    if lora is None:
        yield
        return
    trained = {name: each.requires_grad for name, each in model.named_parameters()}
    with _seeded(seed):
        adapters = _insert(model, lora)
    yield
    adapters.merge_and_unload()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained[name])


def _insert(model: Any, lora: Lora) -> Any:
    """Insert adapters, without dropout, into a model; return peft's wrapper of it."""
    import peft
    from transformers.pytorch_utils import Conv1D

    _check_modules(model, lora)
    settings = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.modules) if isinstance(lora.modules, tuple) else lora.modules,
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(each, Conv1D) for each in model.modules()),
    )
    try:
        wrapper = peft.get_peft_model(model, settings)
    except ValueError as error:
        if lora.modules is not None:
            raise
        raise UserError(
            f"peft has no default of lora.modules for {model.config.model_type!r}; name some of "
            f"{', '.join(_linear_layers(model))}."
        ) from error
    model.eval()  # dropout is in use in `dropout` alone
    return wrapper


def _check_modules(model: Any, lora: Lora) -> None:
    """Raise UserError for a name of no linear layer of the body."""
    choices = _linear_layers(model)
    for name in lora.modules if isinstance(lora.modules, tuple) else ():
        if name.rpartition(".")[2] not in choices or not any(
            f".{path}".endswith(f".{name}") for path, _ in model.named_modules()
        ):
            raise UserError(
                f"lora.modules names {name!r}, which is not a linear layer of the body; name some "
                f"of {', '.join(choices)}."
            )


def _linear_layers(model: Any) -> list[str]:
    """Return the last parts of the names of linear layers, without the output head's."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
        }
    )


@contextmanager
def dropout(model: Any, lora: Lora | None, seed: int) -> Iterator[None]:
    """Drop inputs of adapters at random in the block, by the seed."""
    if lora is None or not lora.dropout:
        yield
        return
    layers = [module.lora_dropout for _, module in _adapted_layers(model)]
    with _seeded(seed):
        for layer in layers:
            layer.train()
        try:
            yield
        finally:
            for layer in layers:
                layer.eval()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's generators in the block, and restore them after it."""
    import torch

    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def _adapted_layers(model: Any) -> Iterator[tuple[str, Any]]:
    return ((name, each) for name, each in model.named_modules() if hasattr(each, "lora_A"))


def adapter_weights(model: Any) -> int:
    """Return the number of weights of a model's adapters; 0 if it has none."""
    return sum(each.numel() for name, each in model.named_parameters() if _MARK in name)


def merged_weights(model: Any) -> "dict[str, torch.Tensor]":
    """Return a model's weights by name, with its adapters added to copies of them."""
    layers = dict(_adapted_layers(model))
    merged = {}
    for name, value in model.state_dict().items():
        layer, part = name.rpartition(".base_layer.")[::2]
        if _MARK in name:
            continue
        if part == "weight":
            value = value + layers[layer].get_delta_weight(_ADAPTER)
        merged[f"{layer}.{part}" if layer else name] = value
    return merged


def count_adapter_weights(config: Mapping[str, Any], lora: Lora) -> int:
    """Return the number of weights of the adapters of a model, of its config with `model_type`."""
    check_installed(lora)
    return _count(json.dumps(dict(config), sort_keys=True), lora)


@lru_cache
def _count(config: str, lora: Lora) -> int:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    values = json.loads(config)
    made = AutoConfig.for_model(values.pop("model_type"), **values)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(made)
        _insert(model, lora)
    return adapter_weights(model)
