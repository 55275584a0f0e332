"""Feature heads in the training loop: rolled forward, with a loss at every depth.

Legend: B text, R start, T slot, L layer, N supervised token, K depth, D hidden size, V vocabulary.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch

from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_rollout import roll_forward, rolled_features
from draftmark.models.hidden_states import StateSource, StoredHiddenStates
from draftmark.models.language_model import LanguageModel, pad_rows
from draftmark.models.packing import fits_windows, packed_states
from draftmark.models.supervised_positions import rows_read, select_supervised
from draftmark.training.batches import Batch, TrainingBatch
from draftmark.training.validation import Criterion, mean_acceptance
from draftmark.types import Text

_NOISE_LENGTH = 512  # the number of tokens of a text at which noise has its nominal width

Loss = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]


@runtime_checkable
class ReadsStates(Protocol):
    """A draft in training that reads the target's states, each token at several depths."""

    @property
    def depth(self) -> float:
        """The mean number of times that a supervised token is read."""

    def read(self, training_batch: TrainingBatch, step: int) -> torch.Tensor:
        """Return states [N, K, D] of supervised tokens at K depths; zero where one is not read."""


@dataclass(frozen=True)
class HeadInTraining(FeatureHead):
    """A head that reads every supervised token at each of `depth` depths, as drafting does.

    `noise` times 512 / length is the width of the uniform noise on the target's states (EAGLE's
    code: 0.2); `noise_seed` and the step seed the noise.
    """

    depth: int = 1
    noise: float = 0.0
    noise_seed: int = 0

    def read(self, training_batch: TrainingBatch, step: int) -> torch.Tensor:
        """Return features [N, K, D]: for token r at depth k, those of the chain from start r - k.

        Features are zero where k > r, because no chain starts before the response.
        """
        fused = [self.fuse(states) for states in self._noisy(training_batch.layers, step)]
        by_depth = list(roll_forward(self, training_batch.texts, fused, self.depth))
        read = []
        for row, text in enumerate(training_batch.texts):
            length = len(text.response_ids)
            shifted = [
                torch.nn.functional.pad(
                    hidden[row, : max(0, length - k)], (0, 0, min(k, length), 0)
                )
                for k, hidden in enumerate(by_depth)
            ]
            read.append(torch.stack(shifted, dim=1))
        return torch.cat(read)

    def _noisy(self, states: Sequence[torch.Tensor], step: int) -> Sequence[torch.Tensor]:
        if not self.noise:
            return states
        generator = torch.Generator().manual_seed(self.noise_seed * 1_000_003 + step)
        return [
            states_TLD.float()
            + (torch.rand(states_TLD.shape, generator=generator) - 0.5).to(states_TLD.device)
            * (self.noise * _NOISE_LENGTH / len(states_TLD))
            for states_TLD in states
        ]


def trainable_head(head: LanguageModel, depth: int, noise: float, seed: int) -> HeadInTraining:
    """Return `head` as the training loop reads it; training changes its weights in place."""
    assert isinstance(head, FeatureHead)
    return HeadInTraining(head.model, head.vocab_size, depth, noise, seed)


def read_batch(
    model: LanguageModel, training_batch: TrainingBatch, step: int, *, packed: bool = False
) -> torch.Tensor:
    """Return a draft's states of the supervised tokens: [N, D], or [N, K, D] of a head.

    `packed`: read the texts as one sequence, if they fit the windows of the model's attention.
    """
    if isinstance(model, ReadsStates):
        return model.read(training_batch, step)
    rows = rows_read(training_batch.texts)
    states: Iterable[torch.Tensor] = (
        packed_states(model, rows)
        if packed and fits_windows(model.model.config, rows)
        else model.hidden(*pad_rows(rows, model.device))
    )
    return torch.cat(list(select_supervised(training_batch.texts, states)))


def mean_over_depths(loss: Loss, decay: float) -> Loss:
    """Return a loss [N] that is the weighted mean of `loss` over depths; depth k has decay^k.

    A token with fewer than k response tokens before it has loss 0 at depth k.
    """
    by_depth = loss_by_depth(loss)

    def mean_N(logits_NKV: torch.Tensor, target_NV: torch.Tensor, batch: Batch) -> torch.Tensor:
        weights_K = decay ** torch.arange(logits_NKV.shape[1], device=logits_NKV.device)
        return by_depth(logits_NKV, target_NV, batch) @ (weights_K / weights_K.sum())

    return mean_N


def loss_by_depth(loss: Loss) -> Loss:
    """Return a loss [N, K]: `loss` at each depth, with a batch that has the states of its depth.

    A token with fewer than k response tokens before it has loss 0 at depth k.
    """

    def by_depth_NK(
        logits_NKV: torch.Tensor, target_NV: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        assert batch.states is not None
        hidden_NKD, target_ND = batch.states
        losses = []
        for k in range(logits_NKV.shape[1]):
            at_depth = replace(batch, states=(hidden_NKD[:, k], target_ND))
            loss_N = loss(logits_NKV[:, k], target_NV, at_depth)
            losses.append(torch.where(batch.positions_N >= k, loss_N, 0.0))
        return torch.stack(losses, dim=1)

    return by_depth_NK


def state_distance(batch: Batch) -> torch.Tensor:
    """Return the smooth L1 distance of the draft's states from the target's, mean over D [N]."""
    assert batch.states is not None
    hidden_ND, target_ND = (each.float() for each in batch.states)
    distance_ND = torch.nn.functional.smooth_l1_loss(
        hidden_ND, target_ND.to(hidden_ND.device), reduction="none"
    )
    return distance_ND.mean(-1)


def head_acceptance_criterion(
    target: LanguageModel, validation: StoredHiddenStates, states: StateSource
) -> Criterion:
    """Return a criterion: the mean of sum min(p, q), at temperature 1, of first drafted tokens."""

    def read(head: FeatureHead) -> Iterator[tuple[Text, torch.Tensor]]:
        for text, by_depth in rolled_features(head, validation.texts, states, 1):
            yield text, by_depth[0]

    return mean_acceptance(target, validation, read)


def frequent_ids(texts: Sequence[Text], size: int) -> torch.Tensor:
    """Return the ids, ascending, of the `size` most frequent tokens of responses; ties by id.

    The draft vocabulary of EAGLE-3.
    """
    counts = Counter(token for text in texts for token in text.response_ids)
    ranked = sorted(range(max(size, max(counts) + 1)), key=lambda token: (-counts[token], token))
    return torch.tensor(sorted(ranked[:size]))
