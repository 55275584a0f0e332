"""How training reads a lesson: the states of a draft that a loss is taken of.

A language model has one for each supervised token. A draft that feeds on what it drafted, as a
feature head does, has one for each depth at which the token may be drafted, and reads lessons in
its own way.

Legend: N supervised token, K depth, D hidden size.
"""

from typing import Protocol, runtime_checkable

import torch

from draftmark.models.hidden_states import right_padded, supervised
from draftmark.models.language_model import LanguageModel
from draftmark.training.batches import TrainingBatch


@runtime_checkable
class LessonReader(Protocol):
    """A draft that reads lessons in its own way."""

    @property
    def depth(self) -> int:
        """K: at how many depths a supervised token is read."""

    def read(self, lesson: TrainingBatch, step: int) -> torch.Tensor:
        """Return states [N, K, D]; what stands where there is no such depth means nothing."""


def read(model: LanguageModel, lesson: TrainingBatch, step: int) -> torch.Tensor:
    """Return a model's states of a lesson's supervised tokens: [N, D], of a reader [N, K, D]."""
    if isinstance(model, LessonReader):
        return model.read(lesson, step)
    states_BTD = model.hidden(*right_padded(lesson.texts, model.device))
    return torch.cat(list(supervised(lesson.texts, states_BTD)))


def depth_of(model: LanguageModel) -> int:
    """Return at how many depths a model reads a supervised token."""
    return model.depth if isinstance(model, LessonReader) else 1
