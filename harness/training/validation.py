"""Criteria that select a checkpoint: numbers measured on validation rows, never on test rows.

Legend: N supervised position, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from draftmark.models.hidden_states import StoredHiddenStates, TargetLogits, hidden_states
from draftmark.models.language_model import LanguageModel
from draftmark.models.sampling import sampler_probs
from draftmark.training.divergences import cross_entropy, overlap
from draftmark.types import Sampler, Text

UNMODIFIED = Sampler(1.0)  # validation compares the unmodified distributions


@dataclass(frozen=True)
class Criterion:
    """A measure of a checkpoint; `name` is its key in the history."""

    name: str
    measure: Callable[[LanguageModel], float]
    lower_is_better: bool = False

    def improves(self, value: float, earlier: Sequence[float]) -> bool:
        """True if a value is better than all earlier ones."""
        if self.lower_is_better:
            return all(value < other for other in earlier)
        return all(value > other for other in earlier)


def acceptance_criterion(target: LanguageModel, validation: StoredHiddenStates) -> Criterion:
    """Return a criterion: the mean of sum min(p, q), at temperature 1, on the target's texts."""
    return mean_acceptance(target, validation, lambda draft: hidden_states(draft, validation.texts))


def mean_acceptance(
    target: LanguageModel,
    validation: StoredHiddenStates,
    read: Callable[[Any], Iterator[tuple[Text, torch.Tensor]]],
) -> Criterion:
    """Return a criterion: the mean of sum min(p, q) at temperature 1, on `read`'s states [N, D]."""
    known = TargetLogits(target, validation)

    @torch.no_grad()
    def measure(draft: LanguageModel) -> float:
        total, tokens = 0.0, 0
        for text, hidden_ND in read(draft):
            q_NV = sampler_probs(draft.logits(hidden_ND), UNMODIFIED)
            p_NV = sampler_probs(known.logits(text), UNMODIFIED)
            total += float(overlap(q_NV, p_NV).sum())
            tokens += len(text.response_ids)
        return total / tokens

    return Criterion("validation_acceptance", measure)


def loss_criterion(validation: Sequence[Text]) -> Criterion:
    """Return a criterion: the mean cross-entropy of the responses' tokens, in nats."""

    @torch.no_grad()
    def measure(model: LanguageModel) -> float:
        total, tokens = 0.0, 0
        for text, hidden_ND in hidden_states(model, validation):
            labels_N = torch.tensor(text.response_ids, device=model.device)
            total += float(cross_entropy(model.logits(hidden_ND), labels_N).sum())
            tokens += len(text.response_ids)
        return total / tokens

    return Criterion("validation_loss", measure, lower_is_better=True)
