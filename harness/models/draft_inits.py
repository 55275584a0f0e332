"""Draft inits: layers of the target, random weights or another model; the head may be fitted.

Layers are found by structure, because families name them differently (`model.layers`,
`transformer.h`).

A pruned draft feeds its head states that the head was not trained on. A fitted head corrects that
in closed form: ridge regression finds the matrix A that maps the draft's final states to the
target's on text, and A is folded into a copy of the target's head. The cost is one pass of the
draft and one D x D solve; the fit replaces the first passes of training.

Legend: N position, D hidden size of the draft, E hidden size of the target, V vocabulary.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM

from draftmark.config.model_sections import DraftInit
from draftmark.errors import UserError
from draftmark.models.hidden_states import FinalStates, hidden_states
from draftmark.models.language_model import (
    DEFAULT_PLACEMENT,
    LanguageModel,
    load_model,
)
from draftmark.models.spread import weights_of
from draftmark.models.token_ids import check_head_rows
from draftmark.types import Placement


def make_draft(
    init: DraftInit,
    target: LanguageModel,
    *,
    seed: int,
    directory: Path | None = None,
    placement: Placement = DEFAULT_PLACEMENT,
) -> LanguageModel:
    """Return the draft init in float32, its head not fitted yet.

    `directory` is the folder of the model that the init names.

    Raises UserError for layers or config keys that the target lacks, and for a head smaller than
    the tokenizer.
    """
    if init.pruned is not None:
        model = prune_layers(target.model, init.pruned)
        if init.head == "shared":
            freeze_embeddings(model)
    elif init.random is not None:
        model = random_model(target.model.config, init.random, seed)
        check_head_rows(model.get_output_embeddings().weight.shape[0], target.vocab_size)
    else:
        assert directory is not None
        model = load_model(directory, placement).model
    rows = model.get_output_embeddings().weight.shape[0]
    return LanguageModel(model.to(placement.device), min(target.vocab_size, rows))


def freeze_embeddings(model: Any) -> None:
    """Exclude embedding and head, with its bias, from training."""
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        for parameter in module.parameters():
            parameter.requires_grad_(False)


def prune_layers(model: Any, layers: Sequence[int]) -> Any:
    """Return a float32 copy of a model with only `layers`, in that order.

    Raises UserError for a layer that the model lacks, or if its list of layers is ambiguous.
    """
    available = model.config.num_hidden_layers
    if beyond := [index for index in layers if index >= available]:
        raise UserError(
            f"pruned = {list(layers)}: the target has layers 0..{available - 1}, not {beyond[0]}."
        )
    config = copy.deepcopy(model.config)
    for name, value in _per_layer(config).items():
        setattr(config, name, [value[index] for index in layers])
    config.num_hidden_layers = len(layers)
    draft = type(model)._from_config(config, dtype=torch.float32)
    draft.load_state_dict(_weights_of(model, layers))
    return draft.eval()


def random_model(config: Any, changes: Mapping[str, Any], seed: int) -> Any:
    """Return a float32 model with random weights, of `config` with `changes`.

    Raises UserError for a key that the family lacks, and for inconsistent values.
    """
    known = {*config.to_dict(), *config.attribute_map}
    if unknown := [key for key in changes if not hasattr(config, key)]:
        raise UserError(
            f"random = {{ {unknown[0]} = ... }}: {config.model_type!r} has no such config value; "
            f"it has {', '.join(sorted(k for k in known if 'size' in k or 'num' in k))}."
        )
    changed = {**config.to_dict(), **changes}
    if changed.get("num_hidden_layers", config.num_hidden_layers) != config.num_hidden_layers:
        for name in _per_layer(config).keys() - changes.keys():
            del changed[name]  # the family's own pattern then covers the new number of layers
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            made = AutoConfig.for_model(changed.pop("model_type"), **changed)
            model = AutoModelForCausalLM.from_config(made, dtype=torch.float32).eval()
            with torch.no_grad():
                model(input_ids=torch.zeros(1, 2, dtype=torch.long))  # shapes clash only here
        except (StrictDataclassError, ValueError, RuntimeError, ArithmeticError) as error:
            raise UserError(
                f"random = {dict(changes)}: these values contradict others in the target's "
                f"config ({' '.join(str(error).split())}); change those as well."
            ) from error
    return model


def _per_layer(config: Any) -> dict[str, list[Any]]:
    """Return the config's lists with one entry per layer, such as `layer_types`."""
    return {
        name: value
        for name, value in config.to_dict().items()
        if isinstance(value, list) and len(value) == config.num_hidden_layers
    }


def _weights_of(model: Any, layers: Sequence[int]) -> dict[str, torch.Tensor]:
    """Return the state dict of a model with only `layers`, renumbered."""
    stack = _name_of_layers(model)
    kept = weights_of(model, without=stack)
    for new, index in enumerate(layers):
        layer = weights_of(model.get_submodule(f"{stack}{index}"))
        kept |= {f"{stack}{new}.{name}": value for name, value in layer.items()}
    return kept


def _name_of_layers(model: Any) -> str:
    """Return the name of the model's list of layers with a final dot, such as "model.layers."."""
    names: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or name.startswith(tuple(names)):
            continue
        if len(module) == model.config.num_hidden_layers:
            names.append(f"{name}.")
    if len(names) != 1:
        raise UserError(
            f"{type(model).__name__} has {len(names)} lists of {model.config.num_hidden_layers} "
            "modules, and exactly one must hold the layers to prune; take another model as the "
            "draft."
        )
    return names[0]


RIDGE = 1e-2  # relative to the mean square of the draft's states


def fit_head(draft: LanguageModel, target: LanguageModel, states: FinalStates) -> LanguageModel:
    """Return the draft with a head fitted to the target's `states`, embedding and head frozen."""
    a_DE = _regress(draft, states)
    fitted = _untied(draft)
    head, theirs = fitted.get_output_embeddings(), weights_of(target.model.get_output_embeddings())
    tokens = slice(target.vocab_size)  # the heads may differ in the number of padding rows
    with torch.no_grad():
        head.weight[tokens] = (theirs["weight"][tokens].double().cpu() @ a_DE.T).float()
        if "bias" in theirs:
            head.bias[tokens] = theirs["bias"][tokens].float().cpu()
    freeze_embeddings(fitted)
    return LanguageModel(fitted.to(draft.device).eval(), draft.vocab_size)


def load_fitted(directory: Path, placement: Placement) -> LanguageModel:
    """Return a draft with a fitted head from a folder, embedding and head frozen."""
    fitted = load_model(directory, placement)
    freeze_embeddings(fitted.model)
    return fitted


def _regress(draft: LanguageModel, states: FinalStates) -> torch.Tensor:
    """Return A [D, E]: it minimises |X A - Y|^2 + ridge |A|^2; X are draft, Y target states."""
    xx_DD, xy_DE = torch.zeros(()).double(), torch.zeros(()).double()
    for text, hidden_ND in hidden_states(draft, states.texts):
        x_ND, y_NE = hidden_ND.double().cpu(), states.last_layer_of(text).double()
        xx_DD = xx_DD + x_ND.T @ x_ND
        xy_DE = xy_DE + x_ND.T @ y_NE
    ridge_DD = RIDGE * xx_DD.diagonal().mean() * torch.eye(len(xx_DD)).double()
    a_DE: torch.Tensor = torch.linalg.solve(xx_DD + ridge_DD, xy_DE)
    return a_DE


def _untied(draft: LanguageModel) -> Any:
    """Return a copy of the draft whose head does not share the embedding's weights."""
    config = copy.deepcopy(draft.model.config)
    config.tie_word_embeddings = False
    model = type(draft.model)._from_config(config, dtype=torch.float32)
    model.load_state_dict(draft.model.state_dict())
    return model
