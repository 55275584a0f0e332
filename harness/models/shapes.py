"""Shapes of models for plans, without torch: from a model's folder, or from a table by name.

In a folder, `config.json` has the shape and the headers of the safetensors count the weights.
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

SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}


_LAYER = re.compile(r"\.(?:layers|h)\.\d+\.")
_HEADS = ("lm_head.weight", "embed_out.weight")


@dataclass(frozen=True)
class Shape:
    """The sizes that a language model's cost follows from; `parameters` counts a tied head once.

    `trained_head`: whether a training changes embedding and head.
    """

    parameters: int
    layer_parameters: int  # of one layer
    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    trained_head: bool = True

    @property
    def head(self) -> int:
        """The weights of the head; the embedding has as many."""
        return self.vocabulary * self.hidden

    @property
    def body(self) -> int:
        """The weights that every token goes through before the head."""
        return self.parameters - self.head * (1 if self.tied else 2)

    @property
    def trained(self) -> int:
        """The weights that a training changes."""
        return self.parameters if self.trained_head else self.body

    def cut(self, layers: int) -> "Shape":
        """Return the shape with fewer layers."""
        fewer = (self.layers - layers) * self.layer_parameters
        return replace(self, layers=layers, parameters=self.parameters - fewer)


def of_model(reference: str, directory: Path | None) -> Shape:
    """Return the shape of a model: of its folder, else of the table by the reference's name.

    Raises UserError for a model that is in neither.
    """
    if directory is not None:
        return _of_folder(directory)
    name = reference.partition("@")[0].rpartition("/")[2].lower()
    if name not in known():
        raise UserError(
            f"The plan needs the shape of {reference!r}, which is not here; fetch it with "
            f"`draftmark fetch`, name its folder, or take one of {', '.join(known())}."
        )
    entry = known()[name]
    return _shape(entry["config"], entry["parameters"], entry["layer_parameters"])


def of_draft(init: DraftInit, target: Shape, given: Shape | None, target_config: Any) -> Shape:
    """Return the shape of a draft init; `given` is that of a model that is one by itself."""
    if init.model is not None:
        assert given is not None
        return given
    shape = target
    if init.pruned is not None:
        shape = target.cut(len(init.pruned))
    elif init.random is not None:
        shape = _counted({**target_config, **init.random})
    if init.head == "fitted" and shape.tied:  # its head becomes a matrix of its own
        shape = replace(shape, tied=False, parameters=shape.parameters + shape.head)
    return replace(shape, trained_head=init.head == "copied")


def of_head(target: Shape, states: int) -> Shape:
    """Return the shape of a feature head that reads so many of the target's states.

    One layer, the target's ends, and a matrix that joins: one state with the embedding, or several
    with one another, where the attention then has the embedding as well.
    """
    joins = max(2, states) * target.hidden**2
    rows = (target.heads + 2 * target.key_value_heads) * target.head_dim
    to_float32 = rows * target.hidden if states > 1 else 0
    one = target.cut(1)
    return replace(one, parameters=one.parameters + joins + to_float32, trained_head=False)


def config_of(reference: str, directory: Path | None) -> dict[str, Any]:
    """Return a model's config with its `model_type`; of a shape that `of_model` returns."""
    if directory is not None:
        return dict(json.loads((directory / "config.json").read_text("utf-8")))
    entry = known()[reference.partition("@")[0].rpartition("/")[2].lower()]
    return {"model_type": entry["model_type"], **entry["config"]}


@cache
def known() -> Mapping[str, Mapping[str, Any]]:
    """Return the table by model name."""
    text = (resources.files("draftmark.models") / "model_shapes.toml").read_text("utf-8")
    table = tomllib.loads(text)
    return {
        alias: entry for name, entry in table.items() for alias in (name, *entry.get("also", ()))
    }


def _of_folder(directory: Path) -> Shape:
    config = config_of("", directory)
    tensors = dict(_tensors(directory))
    own_head = any(name in tensors for name in _HEADS)
    tied = bool(config.get("tie_word_embeddings", not own_head))
    counted = {name: n for name, n in tensors.items() if not (tied and name in _HEADS)}
    in_layers = sum(n for name, n in counted.items() if _LAYER.search(f".{name}"))
    shape = _shape({**config, "tie_word_embeddings": tied}, sum(counted.values()), 0)
    return replace(shape, layer_parameters=in_layers // shape.layers)


def _tensors(directory: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and size of every weight of a folder, of the headers of its files.

    Buffers that some families save beside their weights are left out.
    """
    for path in sorted(directory.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, facts in header.items():
            weight = name != "__metadata__" and not name.endswith("inv_freq")
            if weight and len(facts["shape"]) in (1, 2):
                yield name, prod(facts["shape"])


def _shape(config: Mapping[str, Any], parameters: int, layer_parameters: int) -> Shape:
    """Return the shape of a config in either of the two spellings that models use."""

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
    """Return the shape of a config, its weights counted on the model itself, without any memory."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    values = dict(config)
    made = AutoConfig.for_model(values.pop("model_type"), **values)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(made)
    layer = sum(p.numel() for name, p in model.named_parameters() if _is_first_layer(name))
    told = {**values, "tie_word_embeddings": bool(made.tie_word_embeddings)}
    return _shape(told, model.num_parameters(), layer)


def _is_first_layer(name: str) -> bool:
    return ".layers.0." in name or ".h.0." in name
