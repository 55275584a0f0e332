"""Fixtures of the contract: the tiny target, gold answers of few rows, and training contexts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from draftmark.config.model_sections import DraftInit, Training
from draftmark.config.recipe import MethodEntry
from draftmark.data.rows import load_splits
from draftmark.models.files import own_models
from draftmark.progress import Progress
from draftmark.registry import find_registered

if TYPE_CHECKING:  # importing fixtures loads no torch, so a conftest can set its threads first
    from draftmark.models.hidden_states import StoredHiddenStates
    from draftmark.models.language_model import LanguageModel
    from draftmark.speculation.interfaces import Method
    from draftmark.training.loop import TrainingContext

MakeContext = Callable[..., "TrainingContext"]
SETTINGS = Training(passes=2, rows_per_batch=4, learning_rate=2e-3, validations=2)


@pytest.fixture(scope="session")
def tiny_directory() -> Path:
    """Return the folder of the tiny target."""
    return own_models()["tiny-target"]


@pytest.fixture(scope="session")
def tokenizer(tiny_directory: Path) -> Any:
    """Return the tokenizer of the tiny target."""
    from draftmark.models.language_model import load_tokenizer

    return load_tokenizer(tiny_directory)


@pytest.fixture(scope="session")
def target(tiny_directory: Path) -> LanguageModel:
    """Return the tiny target in float32."""
    from draftmark.models.language_model import load_model

    return load_model(tiny_directory)


@pytest.fixture(scope="session")
def read_gold(
    target: LanguageModel, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[str, StoredHiddenStates]]:
    """Return a function from split sizes (train=12) to hidden states on gold answers by split."""
    from draftmark.data.prompts import encode_gold
    from draftmark.models.hidden_states import StoredHiddenStates, write_hidden_states

    def read(**counts: int) -> dict[str, StoredHiddenStates]:
        wanted: Any = counts
        splits = load_splits(find_registered("tasks", "gsm8k"), wanted, sources=["samples"])
        features: dict[str, StoredHiddenStates] = {}
        for split, rows in splits.items():
            texts = encode_gold(tokenizer, rows.examples, frozenset({tokenizer.eos_token_id}))
            folder = tmp_path_factory.mktemp(split)
            with Progress(quiet=True).step("", len(texts)) as step:
                write_hidden_states(target, texts, folder, dtype="float32", step=step)
            features[split] = StoredHiddenStates.load(folder)
        return features

    return read


@pytest.fixture(scope="session")
def few(read_gold: Callable[..., dict[str, StoredHiddenStates]]) -> dict[str, StoredHiddenStates]:
    """Return hidden states of the gold answers of 12 training and 4 validation rows."""
    return read_gold(train=12, validation=4)


@pytest.fixture
def context(
    target: LanguageModel,
    few: dict[str, StoredHiddenStates],
    tmp_path_factory: pytest.TempPathFactory,
) -> MakeContext:
    """Return a function that makes a context with a fresh draft and scratch folder."""
    from draftmark.models.draft_inits import make_draft
    from draftmark.training.batches import FixedTexts, TrainingTexts
    from draftmark.training.loop import TrainingContext
    from draftmark.training.validation import acceptance_criterion

    def make(**changes: Any) -> TrainingContext:
        scratch: Path = tmp_path_factory.mktemp("scratch")
        with Progress(quiet=True).step("", 1) as step:
            base = TrainingContext(
                draft=make_draft(DraftInit(pruned=(0, 7)), target, seed=0),
                target=target,
                settings=SETTINGS,
                dtype="float32",
                seed=0,
                scratch=scratch,
                step=step,
                texts=TrainingTexts(
                    {"dataset": FixedTexts(few["train"].texts, few["train"])}, {"dataset": 1.0}
                ),
                criterion=acceptance_criterion(target, few["validation"]),
            )
        return replace(base, **changes)

    return make


def build_named_method(name: str, **knobs: Any) -> Method:
    """Return a method as a recipe builds it."""
    from draftmark.speculation.methods import build_method

    return build_method(MethodEntry.model_validate({"name": name, **knobs}))


def context_for_method(
    base: TrainingContext, method: Method, features: Mapping[str, StoredHiddenStates]
) -> TrainingContext:
    """Return the context that a method receives in a run; a feature method's draft is its head."""
    from draftmark.models.hidden_states import LiveStates
    from draftmark.speculation.interfaces import FeatureMethod
    from draftmark.training.batches import FixedTexts, TrainingTexts

    if not isinstance(method, FeatureMethod):
        return base
    assert base.target is not None
    training, validation = features["train"], features["validation"]
    states = LiveStates(base.target, method.layers(base.target.model.config.num_hidden_layers))
    return replace(
        base,
        draft=method.head(base.target, training.texts, base.seed),
        texts=TrainingTexts(
            {"dataset": FixedTexts(training.texts, training, states)}, {"dataset": 1.0}
        ),
        criterion=method.criterion(base.target, validation, states),
    )
