"""The shapes of models, for planning: from a model's folder, else from a table.

A folder's `config.json` has the sizes, and the headers of its safetensors the numbers of weights.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from math import prod
from pathlib import Path
from typing import Any

from draftmark.config.model_sections import DraftInit
from draftmark.errors import UserError
from draftmark.models.quantised import quantisation
from draftmark.models.weight_headers import read_header
from draftmark.models.weights import named_weights

SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes
_LAYER = re.compile(r"\.(?:layers|h)\.\d+\.")
_HEADS = ("lm_head.weight", "embed_out.weight")


@dataclass(frozen=True)
class Shape:
    """The sizes of a language model that determine its costs."""

    parameters: int  # a tied head counts once
    layer_parameters: int  # of one layer
    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    trained_head: bool = True  # a training changes embedding and head
    adapters: int = 0  # the number of weights of LoRA's adapters, which then alone train

    @property
    def head(self) -> int:
        """The number of weights of the head, and of the embedding."""
        return self.vocabulary * self.hidden

    @property
    def body(self) -> int:
        """The number of weights between embedding and head."""
        return self.parameters - self.head * (1 if self.tied else 2)

    @property
    def trained(self) -> int:
        """The number of weights that a training changes."""
        return self.adapters or (self.parameters if self.trained_head else self.body)

    def cut(self, layers: int) -> "Shape":
        """Return the shape with fewer layers."""
        fewer = (self.layers - layers) * self.layer_parameters
        return replace(self, layers=layers, parameters=self.parameters - fewer)


def model_shape(reference: str, directory: Path | None) -> Shape:
    """Return the shape of a model, from its folder or, without a folder, from the table by name.

    Raises UserError if the table lacks the model.
    """
    if directory is not None:
        return _of_folder(directory)
    name = reference.partition("@")[0].rpartition("/")[2].lower()
    if name not in shape_table():
        raise UserError(
            f"The plan needs the shape of {reference!r}, which is unknown; fetch the model with "
            f"`draftmark fetch`, name its folder, or take one of {', '.join(shape_table())}."
        )
    entry = shape_table()[name]
    return _shape(entry["config"], entry["parameters"], entry["layer_parameters"])


def draft_shape(init: DraftInit, target: Shape, given: Shape | None, target_config: Any) -> Shape:
    """Return the shape of a draft init; `given` is the shape of the model that the init names."""
    if init.model is not None:
        assert given is not None
        return given
    shape = target
    if init.pruned is not None:
        shape = target.cut(len(init.pruned))
    elif init.random is not None:
        shape = _counted({**target_config, **init.random})
    if init.head == "fitted" and shape.tied:  # a fitted head is untied
        shape = replace(shape, tied=False, parameters=shape.parameters + shape.head)
    return replace(shape, trained_head=init.head == "copied")


def head_shape(target: Shape, states: int) -> Shape:
    """Return the shape of a feature head that reads `states` states of the target.

    It has one layer, the target's embedding and head, and `fc`, which joins one state with the
    embedding (EAGLE-1) or several states (EAGLE-3, whose attention also reads the embedding).
    """
    join = max(2, states) * target.hidden**2
    rows = (target.heads + 2 * target.key_value_heads) * target.head_dim
    widened = rows * target.hidden if states > 1 else 0
    one = target.cut(1)
    return replace(one, parameters=one.parameters + join + widened, trained_head=False)


def model_config(reference: str, directory: Path | None) -> dict[str, Any]:
    """Return the config, with `model_type`, of a model whose shape `model_shape` returns."""
    if directory is not None:
        config = json.loads((directory / "config.json").read_text("utf-8"))
        return {name: value for name, value in config.items() if name != "quantization_config"}
    entry = shape_table()[reference.partition("@")[0].rpartition("/")[2].lower()]
    return {"model_type": entry["model_type"], **entry["config"]}


@cache
def shape_table() -> Mapping[str, Mapping[str, Any]]:
    """Return the table of shapes by model name."""
    text = (resources.files("draftmark.models") / "model_shapes.toml").read_text("utf-8")
    table = tomllib.loads(text)
    return {
        alias: entry for name, entry in table.items() for alias in (name, *entry.get("also", ()))
    }


def _of_folder(directory: Path) -> Shape:
    config = model_config("", directory)
    if quantisation(directory):  # its tensors are packed
        return _counted(config)
    tensors = dict(_tensors(directory))
    own_head = any(name in tensors for name in _HEADS)
    tied = bool(config.get("tie_word_embeddings", not own_head))
    counted = {name: n for name, n in tensors.items() if not (tied and name in _HEADS)}
    in_layers = sum(n for name, n in counted.items() if _LAYER.search(f".{name}"))
    shape = _shape({**config, "tie_word_embeddings": tied}, sum(counted.values()), 0)
    return replace(shape, layer_parameters=in_layers // shape.layers)


def _tensors(directory: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and size of every weight in the headers of a folder's files.

    Buffers that some families save beside their weights are omitted.
    """
    names = [path.name for path in directory.iterdir()]
    for file in named_weights(directory, names):
        for name, tensor in read_header(directory / file).items():
            if not name.endswith("inv_freq") and len(tensor.shape) in (1, 2):
                yield name, prod(tensor.shape)


def _shape(config: Mapping[str, Any], parameters: int, layer_parameters: int) -> Shape:
    """Return the shape of a config, whose keys are spelled as Llama's or as GPT-2's."""

    def read(*names: str) -> Any:
        return next((config[name] for name in names if config.get(name) is not None), None)

    hidden, heads = read("hidden_size", "n_embd"), read("num_attention_heads", "n_head")
    return Shape(
        parameters=parameters,
        layer_parameters=layer_parameters,
        layers=read("num_hidden_layers", "n_layer"),
        hidden=hidden,
        heads=heads,
        key_value_heads=read("num_key_value_heads") or heads,
        head_dim=read("head_dim") or hidden // heads,
        vocabulary=read("vocab_size"),
        tied=bool(read("tie_word_embeddings")),
    )


def _counted(config: Mapping[str, Any]) -> Shape:
    """Return the shape of a config; its weights are counted on torch's meta device."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    values = dict(config)
    made = AutoConfig.for_model(values.pop("model_type"), **values)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(made)
    first = (".layers.0.", ".h.0.")
    layer = sum(p.numel() for name, p in model.named_parameters() if any(f in name for f in first))
    values["tie_word_embeddings"] = bool(made.tie_word_embeddings)
    return _shape(values, model.num_parameters(), layer)
