"""A feature head as the training loop takes it: rolled forward, and compared at every depth.

Legend: B text, R start, T slot, L layer, N supervised token, K depth, D hidden size, V vocabulary.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from draftmark.models.feature_head import FeatureHead
from draftmark.models.head_rollout import roll, rolled
from draftmark.models.hidden_states import StateSource, StoredHiddenStates, TargetLogits
from draftmark.models.language_model import LanguageModel
from draftmark.models.sampling import sampler_probs
from draftmark.training.batches import Batch, TrainingBatch
from draftmark.training.divergences import overlap
from draftmark.training.validation import AS_THEY_ARE, Criterion
from draftmark.types import Text

_NOISE_LENGTH = 512  # tokens of a text at which noise is as wide as it is named

Loss = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]


@dataclass(frozen=True)
class HeadInTraining(FeatureHead):
    """A head that reads lessons: every supervised token at `depth` depths, as it may be drafted.

    `noise`: how wide the uniform noise is that goes on the target's states, times 512 / length
    (EAGLE's code: 0.2), drawn by `noise_seed` and the step.
    """

    depth: int = 1
    noise: float = 0.0
    noise_seed: int = 0

    def read(self, lesson: TrainingBatch, step: int) -> torch.Tensor:
        """Return features [N, K, D]: that of token r at depth k comes of the start at r - k.

        Zeros where k > r: no chain starts before the response.
        """
        fused = [self.fuse(states) for states in self._noisy(lesson.layers, step)]
        by_depth = list(roll(self, lesson.texts, fused, self.depth))
        read = []
        for row, text in enumerate(lesson.texts):
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
            + (torch.rand(states_TLD.shape, generator=generator) - 0.5)
            * (self.noise * _NOISE_LENGTH / len(states_TLD))
            for states_TLD in states
        ]


def in_training(head: LanguageModel, depth: int, noise: float, seed: int) -> HeadInTraining:
    """Return a head that reads lessons; it trains in place."""
    assert isinstance(head, FeatureHead)
    return HeadInTraining(head.model, head.vocab_size, depth, noise, seed)


def by_depth(loss: Loss, decay: float) -> Loss:
    """Return the mean of a loss over the depths at which a token may be drafted.

    Depth k weighs `decay` to the power k, and nothing for tokens before which no chain of that
    depth starts. The batch's states are handed on depth by depth as well.
    """

    def mean_N(logits_NKV: torch.Tensor, target_NV: torch.Tensor, batch: Batch) -> torch.Tensor:
        total, weight = target_NV.new_zeros(len(target_NV), dtype=torch.float32), 0.0
        for k in range(logits_NKV.shape[1]):
            loss_N = loss(logits_NKV[:, k], target_NV, _at_depth(batch, k))
            total = total + decay**k * torch.where(batch.positions_N >= k, loss_N, 0.0)
            weight += decay**k
        return total / weight

    return mean_N


def _at_depth(batch: Batch, k: int) -> Batch:
    assert batch.states is not None
    hidden_NKD, target_ND = batch.states
    return replace(batch, states=(hidden_NKD[:, k], target_ND))


def state_distance(batch: Batch) -> torch.Tensor:
    """Return the smooth L1 distance of the draft's states from the target's, mean over D [N]."""
    assert batch.states is not None
    hidden_ND, target_ND = (each.float() for each in batch.states)
    distance_ND = torch.nn.functional.smooth_l1_loss(
        hidden_ND, target_ND.to(hidden_ND.device), reduction="none"
    )
    return distance_ND.mean(-1)


def head_acceptance(
    target: LanguageModel, validation: StoredHiddenStates, states: StateSource
) -> Criterion:
    """Return the mean of sum min(p, q) at temperature 1 of each block's first drafted token."""
    laws = TargetLogits(target, validation)

    @torch.no_grad()
    def measure(head: LanguageModel) -> float:
        assert isinstance(head, FeatureHead)
        total, tokens = 0.0, 0
        for text, by_depth in rolled(head, validation.texts, states, 1):
            q_NV = sampler_probs(head.logits(by_depth[0]), AS_THEY_ARE)
            total += float(overlap(q_NV, sampler_probs(laws.logits(text), AS_THEY_ARE)).sum())
            tokens += len(text.response_ids)
        return total / tokens

    return Criterion("validation_acceptance", measure)


def frequent_ids(texts: Sequence[Text], size: int) -> torch.Tensor:
    """Return the ids, ascending, of the `size` tokens that responses hold most often.

    Ties, and the tokens that none holds, go by id. The draft vocabulary of EAGLE-3.
    """
    counts = Counter(token for text in texts for token in text.response_ids)
    ranked = sorted(range(max(size, max(counts) + 1)), key=lambda token: (-counts[token], token))
    return torch.tensor(sorted(ranked[:size]))
