"""Block heads in the training loop: blocks from starts drawn in each step, a loss at every slot.

A step draws the starts of each response at random, and how many slots of each block are read. Every
slot of a drawn block gives a loss on the token that it predicts.

Legend: R start, K slot of a block, N supervised token, X width of a joined state, V vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from draftmark.models.generation import random_stream
from draftmark.models.heads.block_head import BlockHead
from draftmark.models.heads.block_reading import read_blocks, slots_within
from draftmark.models.hidden_states import StateSource, StoredHiddenStates
from draftmark.models.language_model import LanguageModel
from draftmark.training.batches import Batch, TrainingBatch
from draftmark.training.position_weights import SMOOTHING, confidence_by_depth
from draftmark.training.validation import Criterion, mean_acceptance
from draftmark.types import Text

Loss = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]


@dataclass(frozen=True)
class BlockHeadInTraining(BlockHead):
    """A head that reads some slots of the blocks of each text.

    `shares`: for each slot, the share of starts whose block is read up to that slot; it never
    grows. DFlash draws blocks, so all of its shares are equal; P-EAGLE's shares fall.
    """

    shares: tuple[float, ...] = ()
    seed: int = 0

    @property
    def depth(self) -> float:
        """The mean number of slots that read a supervised token."""
        return sum(self.shares)

    def read(self, training_batch: TrainingBatch, step: int) -> torch.Tensor:
        """Return states [N, K, X]: for token r at slot k, those of the block from start r - k.

        States are zero where that slot was not drawn, and where no such block exists.
        """
        drawn = drawn_slots(training_batch.texts, self.shares, self.seed, step)
        texts = zip(training_batch.texts, training_batch.layers, drawn, strict=True)
        return torch.cat([by_token(read_blocks(self, *of_text)) for of_text in texts])

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits [..., V], zero where the states are: the output head skips them."""
        return logits_of_drawn(super().logits, hidden)


def trainable_block_head(
    head: LanguageModel, shares: Sequence[float], seed: int
) -> BlockHeadInTraining:
    """Return `head` as the training loop reads it; training changes its weights in place."""
    assert isinstance(head, BlockHead)
    return BlockHeadInTraining(head.model, head.vocab_size, tuple(shares), seed)


def drawn_slots(
    texts: Sequence[Text], shares: Sequence[float], seed: int, step: int
) -> Iterator[torch.Tensor]:
    """Yield the slots drawn_RK of each text that a step reads, by seed, step and text."""
    for text in texts:
        generator = random_stream(seed, "blocks", str(step), text.example_id)
        yield draw_slots(len(text.response_ids), shares, generator)


def draw_slots(length: int, shares: Sequence[float], generator: torch.Generator) -> torch.Tensor:
    """Return drawn_RK: for each slot a random share of the starts, at least one.

    The starts of a slot are among those of the slot before it. Slots beyond the response are not
    drawn.
    """
    rank_R = torch.randperm(length, generator=generator)
    kept_K = torch.tensor([math.ceil(share * length) for share in shares])
    return (rank_R[:, None] < kept_K) & slots_within(length, len(shares))


def by_token(states_RKX: torch.Tensor) -> torch.Tensor:
    """Return states [N, K, X] by the token that they predict: of the block from start n - k."""
    length, block_size = states_RKX.shape[:2]
    slots_K = torch.arange(block_size, device=states_RKX.device)
    starts_NK = torch.arange(length, device=states_RKX.device)[:, None] - slots_K
    states_NKX = states_RKX[starts_NK.clamp(min=0), slots_K]
    return states_NKX * (starts_NK >= 0)[..., None]


def was_drawn(states: torch.Tensor) -> torch.Tensor:
    """Return True [...] for states [..., X] that a slot read: others are zero."""
    return states.detach().ne(0).any(-1)


def logits_of_drawn(
    logits: Callable[[torch.Tensor], torch.Tensor], states: torch.Tensor
) -> torch.Tensor:
    """Return logits [..., V] of drawn states [..., X]; zero for the others, which are skipped."""
    drawn = was_drawn(states)
    if bool(drawn.all()):
        return logits(states)
    places = torch.nonzero(drawn, as_tuple=True)
    read_V = logits(states[places])
    return read_V.new_zeros(*states.shape[:-1], read_V.shape[-1]).index_put(places, read_V)


def mean_over_slots(loss: Loss, weights: Sequence[float], shares: Sequence[float]) -> Loss:
    """Return a loss [N]: the weighted mean of `loss` over the slots that read a token.

    The mean is over slots at their shares, so its expectation does not depend on what is drawn.
    """
    by_slot = loss_by_slot(loss)
    scale = sum(weight * share for weight, share in zip(weights, shares, strict=True))

    def mean_N(logits_NKV: torch.Tensor, target_NV: torch.Tensor, batch: Batch) -> torch.Tensor:
        weights_K = torch.tensor(weights, device=logits_NKV.device) / scale
        return by_slot(logits_NKV, target_NV, batch) @ weights_K

    return mean_N


def loss_by_slot(loss: Loss) -> Loss:
    """Return a loss [N, K]: `loss` at each slot that read a token, 0 at others.

    `loss` receives a batch with the states of its slot.
    """

    def by_slot_NK(logits_NKV: torch.Tensor, target_NV: torch.Tensor, batch: Batch) -> torch.Tensor:
        assert batch.states is not None
        states_NKX, target_ND = batch.states
        drawn_NK = was_drawn(states_NKX)
        losses_NK = logits_NKV[..., 0] * 0  # a gradient even where no slot was drawn
        for k in range(logits_NKV.shape[1]):
            (read_M,) = torch.nonzero(drawn_NK[:, k], as_tuple=True)
            states = (states_NKX[read_M, k], target_ND[read_M.to(target_ND.device)])
            part = replace(batch.part(read_M), states=states)
            loss_M = loss(logits_NKV[read_M, k], target_NV[read_M], part)
            losses_NK = losses_NK.index_put((read_M, torch.full_like(read_M, k)), loss_M)
        return losses_NK

    return by_slot_NK


def confidence_by_slot(
    logits_NKV: torch.Tensor, target_NV: torch.Tensor, batch: Batch
) -> torch.Tensor:
    """Return the draft's probability [N, K] of each supervised token at each slot, for D-PACE.

    Where no slot read a token, the value is one that D-PACE's smoothing maps to 0: a chain ends
    there.
    """
    assert batch.states is not None
    drawn_NK = was_drawn(batch.states[0])
    confidence_NK = confidence_by_depth(logits_NKV, target_NV, batch)
    return torch.where(drawn_NK, confidence_NK, -SMOOTHING / (1 - SMOOTHING))


def block_acceptance_criterion(
    target: LanguageModel, validation: StoredHiddenStates, states: StateSource
) -> Criterion:
    """Return a criterion: the mean of sum min(p, q), at temperature 1, of first drafted tokens.

    Every method that trains is chosen by this measure, so their histories compare.
    """

    def read(head: BlockHead) -> Iterator[tuple[Text, torch.Tensor]]:
        for text in validation.texts:
            drawn_RK = slots_within(len(text.response_ids), head.block_size)
            drawn_RK[:, 1:] = False
            yield text, read_blocks(head, text, states.states_of(text), drawn_RK)[:, 0]

    return mean_acceptance(target, validation, read)
