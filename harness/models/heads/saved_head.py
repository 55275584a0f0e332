"""What the weights of every head have: a config and a shape, saved in a folder beside them.

A feature head and a block head are saved alike: the config of the target's family, the shape of the
head, and the weights with the target's embedding and output head.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_model, save_model

from draftmark.errors import UserError
from draftmark.models.language_model import LanguageModel
from draftmark.models.loading import check_whole, explain_loading
from draftmark.store.store import write_json

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gpt_neox", "phi")
_HEAD, _WEIGHTS = "head.json", "head.safetensors"
_NORMS = ("norm", "final_layer_norm", "final_layernorm")
Module = TypeVar("Module", bound="SavedHead")


class SavedHead(torch.nn.Module):
    """The weights of a head, with the config of its layers and its shape, a dataclass."""

    config: Any
    shape: Any

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)

    def save_pretrained(self, directory: Path) -> None:
        """Write config, shape and weights."""
        self.config.to_json_file(directory / "config.json", use_diff=False)
        write_json(directory / _HEAD, asdict(self.shape))
        save_model(self, str(directory / _WEIGHTS))


def saved_shape(directory: Path) -> Mapping[str, Any]:
    """Return the fields of the shape of a saved head."""
    saved = json.loads((directory / _HEAD).read_text("utf-8"))
    return {**saved, "layers": tuple(saved["layers"])}


def load_weights(module: Module, directory: Path) -> Module:
    """Fill a module with the weights saved in a folder; raises UserError if they are cut."""
    with explain_loading(directory):
        missing, unexpected = load_model(module, directory / _WEIGHTS, strict=False)
    check_whole(directory, list(module.state_dict()), missing, unexpected)
    return module


def check_family(target: LanguageModel, heads: str) -> None:
    """Raise UserError, which names the kind of heads, for a target of an unsupported family."""
    family = target.model.config.model_type
    if family not in FAMILIES:
        raise UserError(
            f"{heads} are made for {', '.join(FAMILIES)}, not {family!r}; choose another target, "
            "or a method whose draft is a language model."
        )


def norm_name(base: Any) -> str:
    """Return the name of a body's last norm."""
    return next(name for name in _NORMS if hasattr(base, name))
