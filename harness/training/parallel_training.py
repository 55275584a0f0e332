"""Parallel drafts in the training loop: a language model that reads masked slots of blocks.

Legend: R start, K slot of a block, N supervised token, D hidden size, V vocabulary.
"""

from dataclasses import dataclass

import torch

from draftmark.models.language_model import LanguageModel
from draftmark.models.parallel_reading import read_slots
from draftmark.training.batches import TrainingBatch
from draftmark.training.block_training import by_token, drawn_slots, logits_of_drawn


@dataclass(frozen=True)
class ParallelDraftInTraining(LanguageModel):
    """A draft that reads some slots of the blocks of each text.

    `shares`: for each slot, the share of starts whose block is read up to that slot; it never
    grows.
    """

    mask_token: int = 0
    shares: tuple[float, ...] = (1.0,)
    seed: int = 0

    @property
    def depth(self) -> float:
        """The mean number of slots that read a supervised token."""
        return sum(self.shares)

    def read(self, training_batch: TrainingBatch, step: int) -> torch.Tensor:
        """Return states [N, K, D]: for token r at slot k, those of the block from start r - k.

        States are zero where that slot was not drawn, and where no such block exists.
        """
        drawn = drawn_slots(training_batch.texts, self.shares, self.seed, step)
        texts = zip(training_batch.texts, drawn, strict=True)
        read = (read_slots(self, text, self.mask_token, drawn_RK) for text, drawn_RK in texts)
        return torch.cat([by_token(states_RKD) for states_RKD in read])

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits [..., V], zero where the states are: the output head skips them."""
        return logits_of_drawn(super().logits, hidden)
