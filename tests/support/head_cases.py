"""Feature heads on small random targets of every family, untrained or trained a little."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from draftmark.baselines.eagle import METHOD as Eagle
from draftmark.baselines.eagle3 import METHOD as Eagle3
from draftmark.config.model_sections import Training
from draftmark.models.heads.feature_head import FeatureHead, HeadShape, make_head
from draftmark.models.hidden_states import (
    LiveStates,
    StoredHiddenStates,
    TargetLogits,
    write_hidden_states,
)
from draftmark.models.language_model import LanguageModel
from draftmark.progress import Progress
from draftmark.speculation.head_drafter import FeatureHeadDrafter
from draftmark.speculation.interfaces import FeatureMethod
from draftmark.training.batches import FixedTexts, TrainingTexts
from draftmark.training.loop import TrainingContext
from draftmark.types import AcceptanceTable, Samplers, Text

SETTINGS = Training(passes=8, rows_per_batch=8, learning_rate=4e-3, validations=1)
_SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
OWN: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 4},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "gpt_neox": {"rotary_pct": 0.5},
    "phi": {"partial_rotary_factor": 0.5},
}
# Heads of the tiny target that tests share: see `trained_heads` in conftest.py.
TRAINED: dict[str, FeatureMethod] = {
    "eagle": Eagle(from_layer=7),
    "eagle3": Eagle3(depth=2, from_layer=7),
    "eagle3, cut": Eagle3(depth=2, from_layer=7, draft_vocabulary=300),
}
ARCHITECTURES = {"eagle": (4,), "eagle3": (1, 2, 3), "mtp": (4,)}


def small_target(family: str, **sizes: int) -> LanguageModel:
    """Return a random target of a family; `sizes` replace those of its config."""
    config = AutoConfig.for_model(family, **{**_SMALL, **OWN[family], **sizes})
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    return LanguageModel(model, config.vocab_size)


def small_head(target: LanguageModel, architecture: Any, **options: Any) -> FeatureHead:
    """Return a random head of a target; `draft_ids` are its draft vocabulary."""
    ids = options.get("draft_ids")
    size = None if ids is None else len(ids)
    layers = ARCHITECTURES[architecture]
    return make_head(
        target, HeadShape(architecture, layers, target.vocab_size, size), seed=0, **options
    )


def as_qwen3(target: LanguageModel) -> LanguageModel:
    """Return a Qwen3 target with the weights of a Llama target, and norms of queries and keys."""
    kept = AutoConfig.for_model("qwen3").to_dict().keys() - {"model_type", "architectures"}
    values = {k: v for k, v in target.model.config.to_dict().items() if k in kept}
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("qwen3", **values), dtype=torch.float32
    ).eval()
    model.load_state_dict(target.model.state_dict(), strict=False)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                weight.fill_(1.5)
    return LanguageModel(model, target.vocab_size)


def on_model(model: LanguageModel, texts: Sequence[Text]) -> StoredHiddenStates:
    """Return a model's final states on texts."""
    with TemporaryDirectory() as folder, Progress(quiet=True).step("", 1) as step:
        write_hidden_states(model, texts, Path(folder), dtype="float32", step=step)
        return StoredHiddenStates.load(Path(folder))


def scored_text(
    head: FeatureHead, target: LanguageModel, text: Text, samplers: Samplers
) -> AcceptanceTable:
    """Return the acceptance table of a head on one text."""
    known = TargetLogits(target, on_model(target, [text]))
    (table,) = FeatureHeadDrafter(head).score([text], known, samplers)
    return table


def trained_head(
    method: FeatureMethod,
    target: LanguageModel,
    read: Mapping[str, StoredHiddenStates],
    folder: Path,
) -> FeatureHead:
    """Return a head trained a little: some tokens are accepted, some rejected."""
    training, validation = read["train"], read["validation"]
    states = LiveStates(target, method.layers(target.model.config.num_hidden_layers))
    with Progress(quiet=True).step("", 1) as step:
        write_hidden_states(
            target,
            training.texts,
            folder,
            dtype="float32",
            step=step,
            layers=states.layers,
            positions="all",
        )
        source = FixedTexts(training.texts, training, StoredHiddenStates.load(folder))
        context = TrainingContext(
            draft=method.head(target, training.texts, 0),
            target=target,
            settings=SETTINGS,
            dtype="float32",
            seed=0,
            scratch=folder,
            step=step,
            texts=TrainingTexts({"dataset": source}, {"dataset": 1.0}),
            criterion=method.criterion(target, validation, states),
        )
    made = method.train(context).model
    assert isinstance(made, FeatureHead)
    return made
