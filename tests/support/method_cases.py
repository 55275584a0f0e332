"""Methods in tests: build one, train with it, and take the gradient of its first step."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from draftmark.config.model_sections import Training
from draftmark.config.recipe import MethodEntry
from draftmark.models.hidden_states import LiveStates, StoredHiddenStates
from draftmark.models.language_model import LanguageModel
from draftmark.speculation.interfaces import FeatureMethod, Method
from draftmark.speculation.methods import build_method
from draftmark.training.batches import Fixed, Texts
from draftmark.training.context import Draft
from draftmark.training.loop import TrainingContext
from draftmark.training.validation import Criterion

Make = Callable[..., TrainingContext]
Weights = dict[str, torch.Tensor]


def built(name: str, **knobs: Any) -> Method:
    """Return a method, built as from a recipe."""
    return build_method(MethodEntry.model_validate({"name": name, **knobs}))


def prepared(
    given: TrainingContext, method: Method, read: Mapping[str, StoredHiddenStates]
) -> TrainingContext:
    """Return the training context of a run; for feature heads it has the head."""
    if not isinstance(method, FeatureMethod):
        return given
    assert given.target is not None
    training, validation = read["train"], read["validation"]
    layers = method.layers(given.target.model.config.num_hidden_layers)
    states = LiveStates(given.target, layers)
    return replace(
        given,
        draft=method.head(given.target, training.texts, given.seed),
        texts=Texts({"dataset": Fixed(training.texts, training, states)}, {"dataset": 1.0}),
        criterion=method.criterion(given.target, validation, states),
    )


def weights(model: LanguageModel | None) -> Weights:
    assert model is not None
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def latest() -> Criterion:
    """Return a criterion that prefers later checkpoints."""
    count = itertools.count()
    return Criterion("validations", lambda _: float(next(count)))


def trained(make: Make, method: Method, **changes: Any) -> Draft:
    return method.train(make(criterion=latest(), **changes))


def gradient(
    make: Make, method: Method, monkeypatch: pytest.MonkeyPatch, times: float = 1.0
) -> torch.Tensor:
    """Return `times` the gradient of the first step, from a step of plain gradient descent.

    AdamW and clipping would hide its scale.
    """
    with monkeypatch.context() as patch:
        patch.setattr(
            torch.optim, "AdamW", lambda parameters, lr, **_: torch.optim.SGD(parameters, lr)
        )
        settings = Training(
            passes=4 / 12,
            rows_per_batch=4,
            learning_rate=times,
            warmup_fraction=0.0,
            schedule="constant",
            clip_norm=1e9,
            validations=1,
        )
        given = make(criterion=latest(), settings=settings)
        before = weights(given.draft)
        made = method.train(given)
        assert made.ledger.steps == 1
        after = weights(made.model)
    return torch.cat([(before[name] - after[name]).flatten() for name in before])


def assert_same_gradient(first: torch.Tensor, second: torch.Tensor, rtol: float = 1e-4) -> None:
    """Assert that two gradients are close relative to their norm, which is not zero."""
    assert float(second.norm()) > 1e-3
    assert float((first - second).norm()) < rtol * float(second.norm())
