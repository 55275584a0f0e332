"""Fixtures of the methods' tests: few rows of gold answers and the tiny pair."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from method_cases import Make

from draftmark.config.model_sections import DraftInit, Training
from draftmark.models.draft_inits import make_draft
from draftmark.models.hidden_states import StoredHiddenStates
from draftmark.models.language_model import LanguageModel
from draftmark.progress import Progress
from draftmark.training.batches import Fixed, Texts
from draftmark.training.loop import TrainingContext
from draftmark.training.validation import acceptance

SETTINGS = Training(passes=2, rows_per_batch=4, learning_rate=2e-3, validations=2)


@pytest.fixture(scope="session")
def few(read_gold: Callable[..., dict[str, StoredHiddenStates]]) -> dict[str, StoredHiddenStates]:
    """Hidden states of the gold answers of 12 training and 4 validation rows."""
    return read_gold(train=12, validation=4)


@pytest.fixture
def context(
    target: LanguageModel,
    few: dict[str, StoredHiddenStates],
    tmp_path_factory: pytest.TempPathFactory,
) -> Make:
    """Return a function that makes a training context with a new draft and scratch folder."""

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
                texts=Texts({"dataset": Fixed(few["train"].texts, few["train"])}, {"dataset": 1.0}),
                criterion=acceptance(target, few["validation"]),
            )
        return replace(base, **changes)

    return make
