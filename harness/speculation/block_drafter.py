"""The drafter of a block head: it proposes a block in one pass, and is scored by slot.

Scoring follows `speculation.scoring`. One pass reads every slot of the blocks from every start; the
output head, most of the cost, reads the slots of chains whose tokens may all be accepted. A block
drafts at most as many tokens as the head was trained with, whatever the block length asked for.

A threshold on the head's confidence, if above 0, ends a block before the first slot whose own
confidence is below it. That is DeepSpec's rule (deepseek-ai/DeepSpec at 67d7bdd,
`eval/dspark/draft_ops.py`, `_confident_prefix_length`). vLLM instead ranks the products of
confidences of all requests in a batch by what the batch can bear, which no text decides.

Legend: T slot of the context, L layer, R start, A block of a batch, K slot of a block, X width of a
joined state, G drafted token, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from draftmark.models.generation import random_stream
from draftmark.models.growing_cache import growing_cache
from draftmark.models.heads.block_head import BlockContext, BlockHead
from draftmark.models.heads.block_reading import read_blocks, slots_within
from draftmark.models.hidden_states import LiveStates, TargetLogits
from draftmark.models.sampling import draw_tokens, sampler_probs
from draftmark.speculation.head_drafter import Chains
from draftmark.speculation.scoring import tokens_above
from draftmark.store.acceptance_tables import Ints
from draftmark.types import MAX_GAMMA, AcceptanceTable, Proposal, Sampler, Samplers, Text


@dataclass(eq=False)
class BlockSession:
    """A head with the context of one text, which grows as the target reads."""

    head: BlockHead
    prompt_ids: Sequence[int]
    sampler: Sampler
    generator: torch.Generator
    threshold: float = 0.0
    _context: BlockContext = field(default_factory=lambda: BlockContext(growing_cache()))
    _unread: list[torch.Tensor] = field(default_factory=list)  # features that no slot has read yet

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers of the target that the head reads."""
        return self.head.model.shape.layers

    def observe(self, states_TLD: torch.Tensor) -> None:
        """Append the target's states [T, L, D] of newly kept tokens.

        The first call reads the prompt, as the target does.
        """
        self._unread += self.head.fuse(states_TLD)
        if self._context.slots == 0:
            self._read(self.prompt_ids)

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return the first `num_tokens` tokens of a block, with their distributions q_GV.

        Fewer if the block is shorter, or if the confidence falls below the threshold; none after a
        prompt of one token, which has no context.
        """
        count = min(num_tokens, self.head.block_size)
        if len(token_ids) < 2 or not count:
            return Proposal(())
        self._read(token_ids)
        states_KD = self._block(token_ids, count)[:count]
        if self.head.model.sequential:
            id_A = torch.tensor([token_ids[-1]], device=states_KD.device)
            return self._draw_in_turn(states_KD[None], id_A)
        q_GV = sampler_probs(self.head.logits(states_KD), self.sampler).cpu()
        return Proposal(tuple(draw_tokens(q_GV, self.generator).tolist()), q_GV)

    def _draw_in_turn(self, states_AKD: torch.Tensor, id_A: torch.Tensor) -> Proposal:
        """Return the tokens of one block, of which each slot reads the one before it."""
        drafted, q_GV = [], []
        for slot in draw_in_turn(
            self.head, states_AKD, id_A, self.sampler, self.generator, self.threshold
        ):
            drafted.append(int(slot.tokens_A))
            q_GV.append(slot.q_AV[0])
        return Proposal(tuple(drafted), torch.stack(q_GV) if q_GV else None)

    def _block(self, token_ids: Sequence[int], count: int) -> torch.Tensor:
        """Return the states [K, D] of the block after the text, of which `count` are wanted."""
        device = self.head.device
        drawn_AK = torch.arange(self.head.block_size, device=device)[None] < count
        anchor_A = torch.tensor([len(token_ids) - 1], device=device)
        id_A = torch.tensor([token_ids[-1]], device=device)
        return self.head.model.blocks(self._context, id_A, anchor_A, drawn_AK)[0]

    def _read(self, token_ids: Sequence[int]) -> None:
        """Read the slots of the context that the text has; only the last slot's state is kept."""
        before = self._context.slots
        following = token_ids[before + 1 :]
        if not following:
            return
        features_TD = torch.stack(self._unread[: len(following)])
        del self._unread[: len(following)]
        following_T = torch.tensor(list(following), device=self.head.device)
        self.head.model.extend(self._context, following_T, features_TD)
        del self._context.states[:-1]


@dataclass(frozen=True)
class DrawnSlot:
    """A token of each block that has one at a slot; A are these blocks, by their number."""

    blocks_A: torch.Tensor
    tokens_A: torch.Tensor
    q_AV: torch.Tensor


def draw_in_turn(
    head: BlockHead,
    states_AKD: torch.Tensor,
    ids_A: torch.Tensor,
    sampler: Sampler,
    generator: torch.Generator,
    threshold: float,
) -> Iterator[DrawnSlot]:
    """Yield the drafted tokens of blocks slot by slot; each slot reads the tokens before it.

    `ids_A` are the anchors. A block ends before a slot whose confidence is below the threshold.
    """
    blocks_A, previous_AK = torch.arange(len(ids_A), device=ids_A.device), ids_A[:, None]
    for number in range(1, states_AKD.shape[1] + 1):
        joined_AX = head.model.join(states_AKD[blocks_A, :number], previous_AK)[:, -1]
        if threshold:
            kept_A = head.confidence(joined_AX) >= threshold
            blocks_A, previous_AK, joined_AX = (
                each[kept_A] for each in (blocks_A, previous_AK, joined_AX)
            )
        if not len(blocks_A):
            return
        q_AV = sampler_probs(head.logits(joined_AX), sampler).cpu()
        tokens_A = draw_tokens(q_AV, generator)
        previous_AK = torch.cat([previous_AK, tokens_A.to(ids_A.device)[:, None]], dim=1)
        yield DrawnSlot(blocks_A, tokens_A, q_AV)


@dataclass(frozen=True)
class BlockDrafter:
    """A trained block head; `threshold` 0 cuts no block."""

    head: BlockHead
    threshold: float = 0.0

    @property
    def block_size(self) -> int:
        """The number of tokens of a whole block."""
        return self.head.block_size

    @torch.no_grad()
    def score(
        self, texts: Sequence[Text], target: TargetLogits, samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text, for blocks of up to the head's block size.

        Acceptance is 0 from the slot at which a chain is no longer followed (NEGLIGIBLE). The
        target's body computes its states if `target` has none stored.
        """
        states = target.layer_states or LiveStates(target.target, self.head.model.shape.layers)
        size = min(self.head.block_size, MAX_GAMMA)
        for text in texts:
            drawn_RK = slots_within(len(text.response_ids), self.head.block_size)
            if self.threshold:  # drafted blocks go on past the end of the text
                drawn_RK = torch.ones_like(drawn_RK)
            states_RKX = read_blocks(self.head, text, states.states_of(text), drawn_RK)
            chains = Chains(text, target, samplers)
            for slot in range(size):
                chains.follow(self.head, states_RKX[:, slot])
            table = chains.table(size)
            if self.threshold:
                table = self._cut(table, text, states_RKX[:, :size], samplers)
            yield table

    def _cut(
        self, table: AcceptanceTable, text: Text, states_RKX: torch.Tensor, samplers: Samplers
    ) -> AcceptanceTable:
        """Return the table of blocks that end where the confidence falls below the threshold.

        A block that drafts nothing has the overlap 0, as a lookup that finds nothing.
        """
        confidence_RK = self.head.confidence(states_RKX).double().cpu().numpy()
        drafted_R = tokens_above(confidence_RK, self.threshold)
        return replace(
            table,
            drafted_S=drafted_R,
            overlap_S=table.overlap_S * (drafted_R > 0),
            greedy_match_S=table.greedy_match_S * (drafted_R > 0),
            proposed_S=self._proposed(text, states_RKX, samplers.draft),
        )

    def _proposed(self, text: Text, states_RKX: torch.Tensor, sampler: Sampler) -> Ints:
        """Return the number of tokens [R] that one draw from the draft proposes at each start."""
        before = len(text.prompt_ids) - 1
        ids_R = torch.tensor((*text.prompt_ids, *text.response_ids)[before:-1])
        stream = random_stream(0, "proposals", text.example_id)
        states_RKD = states_RKX[..., : self.head.hidden_size]
        proposed_R = np.zeros(len(ids_R), dtype=np.int64)
        for slot in draw_in_turn(
            self.head, states_RKD, ids_R.to(self.head.device), sampler, stream, self.threshold
        ):
            proposed_R[slot.blocks_A.cpu().numpy()] += 1
        return proposed_R

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: torch.Generator
    ) -> BlockSession:
        """Return a session; the engine passes it the target's states."""
        return BlockSession(self.head, prompt_ids, sampler, generator, self.threshold)
