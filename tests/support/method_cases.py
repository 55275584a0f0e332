"""What the tests of methods share: how one is built, run, and seen to descend."""

import itertools
from typing import Any

import pytest
import torch

from draftmark.config.model_sections import Training
from draftmark.contract.fixtures import MakeContext, build_named_method, context_for_method
from draftmark.models.language_model import LanguageModel
from draftmark.speculation.interfaces import Method
from draftmark.training.context import Draft
from draftmark.training.validation import Criterion

Make = MakeContext
Weights = dict[str, torch.Tensor]
built, prepared = build_named_method, context_for_method


def weights(model: LanguageModel | None) -> Weights:
    assert model is not None
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def latest() -> Criterion:
    """Return a criterion by which every checkpoint is better than the one before."""
    count = itertools.count()
    return Criterion("validations", lambda _: float(next(count)))


def trained(make: Make, method: Method, **changes: Any) -> Draft:
    return method.train(make(criterion=latest(), **changes))


def gradient(
    make: Make, method: Method, monkeypatch: pytest.MonkeyPatch, times: float = 1.0
) -> torch.Tensor:
    """Return some times the first gradient: what a step of plain descent takes off the weights.

    AdamW would hide its scale, and clipping as well.
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
    """Check that two gradients differ by little beside their norm, which is not zero."""
    assert float(second.norm()) > 1e-3
    assert float((first - second).norm()) < rtol * float(second.norm())
