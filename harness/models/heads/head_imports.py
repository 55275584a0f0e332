"""Reads trained heads of other code, for a target, in the layouts of `models.heads.head_layouts`.

A file's tensors have vLLM's names (`llama_eagle3.py`, `llama_eagle.py`): `layers.0` or `midlayer`
for the first layer, whose `input_layernorm` is the embedding's norm and `hidden_norm` the
feature's; `fc`, `fc_norm.{i}`, `input_norm`, `norm`, `lm_head`, `embed_tokens`.

- Embedding and output head are the file's own where the file has them, else the target's; vLLM
  and the trainers do the same.
- `d2t[i] + i` is the target's id of draft token i (vLLM, SpecForge and speculators); `t2d` must be
  true for exactly these ids.
- Ids beyond the tokenizer, and their rows, are left out before the softmax, as everywhere.
- The rotary embedding is that of the head's own config, over positions from 0; only differences of
  positions matter, so speculators' positions from 1 are the same.

Weights are read as float32 from safetensors. Legend: V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from draftmark.errors import UserError
from draftmark.models.heads.feature_head import FeatureHead, HeadModule, HeadShape
from draftmark.models.heads.head_layouts import HeadFacts, read_head_facts
from draftmark.models.language_model import LanguageModel
from draftmark.models.loading import check_whole, explain_loading
from draftmark.models.spread import weights_of
from draftmark.models.weights import weight_files

Tensors = dict[str, torch.Tensor]
_LAYER = "causal.model.layers.0.input_layernorm."
_RENAMED = (
    ("midlayer.", "layers.0."),
    ("layers.", "causal.model.layers."),
    ("embed_tokens.", "causal.model.embed_tokens."),
    ("lm_head.", "causal.lm_head."),
)
_EMBEDDING, _OUTPUT = "causal.model.embed_tokens.weight", "causal.lm_head.weight"


def read_head(directory: Path, target: LanguageModel, reference: str) -> FeatureHead:
    """Return the float32 head in a folder, on the target's device, in evaluation mode.

    Raises UserError if the head was not made for the target, or if a tensor is missing, has another
    shape or belongs to no part of the head.
    """
    facts = read_head_facts(directory, reference)
    shape = _shape(facts, target.model.config, target.vocab_size)
    tensors = _named(directory, facts)
    ids_V = _draft_ids(tensors, facts, target.vocab_size)
    _add_output(tensors, target, ids_V, facts)
    own = _add_embedding(tensors, target)
    shape = replace(shape, fc_bias="fc.bias" in tensors, own_embedding=own)
    if ids_V is not None:
        shape = replace(shape, draft_vocab_size=len(ids_V))
        tensors["draft_ids_V"] = ids_V
    module = _module(directory, facts, shape)
    _load(directory, module, tensors)
    return FeatureHead(module.to(target.device).eval(), target.vocab_size)


def check_head(directory: Path, reference: str, config: Any, vocab_size: int) -> HeadFacts:
    """Return the facts of a head; raises UserError if a target's config shows it does not fit.

    `vocab_size` is the tokenizer's. Every tensor's shape is checked; no module is made in memory.
    """
    facts = read_head_facts(directory, reference)
    shape = _shape(facts, config, vocab_size)
    tensors = _named(directory, facts)
    ids_V = _draft_ids(tensors, facts, vocab_size)
    size = None if ids_V is None else len(ids_V)
    shape = replace(shape, fc_bias="fc.bias" in tensors, draft_vocab_size=size)
    with torch.device("meta"):
        module = _module(directory, facts, shape)
    # A head as wide as its target may leave embedding and output head to the target.
    ends = {_EMBEDDING, _OUTPUT} if shape.state_size is None else set()
    _check_shapes(directory, module, tensors, {*ends, "draft_ids_V"})
    return facts


def _shape(facts: HeadFacts, config: Any, vocab_size: int) -> HeadShape:
    """Return the head's shape; raises UserError unless the target has its width and vocabulary."""
    width, own = config.hidden_size, facts.layer["hidden_size"]
    states = facts.target_hidden_size or own
    if states != width or (facts.kind == "eagle" and own != width):
        raise UserError(
            f"{facts.reference} reads states of a target with hidden size {states}, and this "
            f"target has {width}: it is a head of another model."
        )
    if facts.layer["vocab_size"] != config.vocab_size:
        raise UserError(
            f"{facts.reference} has a vocabulary of {facts.layer['vocab_size']}, and the target of "
            f"{config.vocab_size}: it is a head of another model."
        )
    return HeadShape(
        facts.kind,
        facts.layers_of(config.num_hidden_layers),
        vocab_size,
        fc_norm=facts.fc_norm,
        norm_output=facts.norm_output,
        norm_before_fc=facts.norm_before_fc,
        norm_before_residual=facts.norm_before_residual,
        state_size=None if states == own else states,
    )


def _module(directory: Path, facts: HeadFacts, shape: HeadShape) -> HeadModule:
    values = {**facts.layer, "tie_word_embeddings": False}
    with explain_loading(directory):
        config = AutoConfig.for_model(values.pop("model_type"), **values)
        causal = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, attn_implementation="sdpa"
        )
        return HeadModule(causal, shape)


def _named(directory: Path, facts: HeadFacts) -> Tensors:
    """Return the file's tensors by the names of a HeadModule; floats are float32."""
    names = [path.name for path in directory.iterdir()]
    tensors: Tensors = {}
    with explain_loading(directory):
        for file in weight_files(directory, names, head=True):
            tensors |= load_file(directory / file)
    if "fc.weight" not in tensors:
        raise UserError(
            f"{directory} has no tensor fc.weight, which every head has: it is not a head of "
            f"{facts.kind}; name a language model as draft = {{ model = ... }}."
        )
    return {
        _own_name(name, facts): value.float() if value.is_floating_point() else value
        for name, value in tensors.items()
    }


def _own_name(name: str, facts: HeadFacts) -> str:
    """Return the name in a HeadModule of a tensor in a file; an unknown name stays."""
    for old, new in _RENAMED:
        name = new + name.removeprefix(old) if name.startswith(old) else name
    if facts.kind == "eagle3":
        name = name.replace("layers.0.input_layernorm.", "layers.0.input_layernorm.embedding_norm.")
        name = name.replace("layers.0.hidden_norm.", "layers.0.input_layernorm.feature_norm.")
    return name


def _draft_ids(tensors: Tensors, facts: HeadFacts, vocab_size: int) -> torch.Tensor | None:
    """Return the target's ids of the draft vocabulary, None for the whole; takes the maps out.

    Rows of the output head for ids beyond the tokenizer are cut from `tensors`. Raises UserError
    for maps that contradict each other or the config.
    """
    d2t_V, t2d_V = tensors.pop("d2t", None), tensors.pop("t2d", None)
    whole = facts.layer["vocab_size"]
    size = facts.draft_vocab_size or whole
    if size == whole:
        return None
    if d2t_V is None or d2t_V.shape != (size,):
        found = "no d2t" if d2t_V is None else f"a d2t of shape {tuple(d2t_V.shape)}"
        raise UserError(
            f"{facts.reference} has a draft vocabulary of {size} of {whole} tokens and {found}; "
            f"it needs one of {size} numbers."
        )
    ids_V = d2t_V.long() + torch.arange(size)
    _check_ids(ids_V, t2d_V, whole, facts.reference)
    kept_V = ids_V < vocab_size
    if (output_VD := tensors.get(_OUTPUT)) is not None and len(output_VD) == size:
        tensors[_OUTPUT] = output_VD[kept_V]
    return _whole_or_cut(ids_V[kept_V], tensors, whole, vocab_size)


def _check_ids(ids_V: torch.Tensor, t2d_V: torch.Tensor | None, whole: int, name: str) -> None:
    if int(ids_V.min()) < 0 or int(ids_V.max()) >= whole or len(set(ids_V.tolist())) < len(ids_V):
        raise UserError(
            f"{name}: d2t does not map each draft token to a target token of its own; it must hold "
            "target id minus draft id."
        )
    if t2d_V is None:
        return
    known_V = torch.zeros(whole, dtype=torch.bool)
    known_V[ids_V] = True
    if t2d_V.shape != known_V.shape or not torch.equal(t2d_V.bool(), known_V):
        raise UserError(
            f"{name}: t2d and d2t name different tokens ({int(t2d_V.bool().sum())} and "
            f"{len(ids_V)}); save the head with its vocabulary mapping."
        )


def _whole_or_cut(
    ids_V: torch.Tensor, tensors: Tensors, whole: int, vocab_size: int
) -> torch.Tensor | None:
    """Return None, with padding rows restored, if the ids are all of the tokenizer's."""
    if not torch.equal(ids_V, torch.arange(vocab_size)):
        return ids_V
    if (output_VD := tensors.get(_OUTPUT)) is not None:
        padding = (0, 0, 0, whole - len(output_VD))
        tensors[_OUTPUT] = torch.nn.functional.pad(output_VD, padding)
    return None


def _add_output(
    tensors: Tensors, target: LanguageModel, ids_V: torch.Tensor | None, facts: HeadFacts
) -> None:
    """Take the output head from the target where the file has none.

    Raises UserError for EAGLE-1 with another output head than the target's, which it has not in
    EAGLE's code or in vLLM, and for a target's output head with a bias.
    """
    output = target.model.get_output_embeddings()
    rows = slice(None) if ids_V is None else ids_V.cpu()
    theirs_VD = weights_of(output)["weight"].cpu()[rows].float()
    own_VD = tensors.setdefault(_OUTPUT, theirs_VD)
    if facts.kind == "eagle" and not torch.equal(own_VD, theirs_VD):
        raise UserError(
            f"{facts.reference} is an EAGLE-1 head with an lm_head.weight that is not its target's."
        )
    if own_VD is theirs_VD and output.bias is not None:
        raise UserError(
            f"{facts.reference} takes the output head of its target, which has a bias; only a head "
            "with its own lm_head.weight is read for this target."
        )


def _add_embedding(tensors: Tensors, target: LanguageModel) -> bool:
    """Take the embedding from the target where the file has none; True if it is another one."""
    theirs_VD = weights_of(target.model.get_input_embeddings())["weight"].float().cpu()
    return not torch.equal(tensors.setdefault(_EMBEDDING, theirs_VD), theirs_VD)


def _load(directory: Path, module: HeadModule, tensors: Tensors) -> None:
    _check_shapes(directory, module, tensors, set())
    module.load_state_dict(tensors, strict=False)


def _check_shapes(
    directory: Path, module: HeadModule, tensors: Mapping[str, torch.Tensor], optional: set[str]
) -> None:
    """Raise UserError unless the tensors are the module's; `optional` ones may be missing."""
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    both = wanted.keys() & found.keys()
    check_whole(
        directory,
        list(wanted),
        wanted.keys() - found.keys() - optional,
        found.keys() - wanted.keys(),
        {name: [found[name], wanted[name]] for name in both if found[name] != wanted[name]},
    )
