"""The drafter of a block head: it proposes a block in one pass, and is scored by slot.

Scoring follows `speculation.scoring`. One pass reads every slot of the blocks from every start; the
output head, most of the cost, reads the slots of chains whose tokens may all be accepted. A block
drafts at most as many tokens as the head was trained with, whatever the block length asked for.

Legend: T slot of the context, L layer, R start, K slot of a block, X width of a joined state, G
drafted token, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from draftmark.models.block_head import BlockContext, BlockHead
from draftmark.models.block_reading import read_blocks, slots_within
from draftmark.models.growing_cache import growing_cache
from draftmark.models.hidden_states import LiveStates, TargetLogits
from draftmark.models.sampling import draw_tokens, sampler_probs
from draftmark.speculation.head_drafter import Chains
from draftmark.types import MAX_GAMMA, AcceptanceTable, Proposal, Sampler, Samplers, Text


@dataclass(eq=False)
class BlockSession:
    """A head with the context of one text, which grows as the target reads."""

    head: BlockHead
    prompt_ids: Sequence[int]
    sampler: Sampler
    generator: torch.Generator
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

        Fewer if the block is shorter; none after a prompt of one token, which has no context.
        """
        count = min(num_tokens, self.head.block_size)
        if len(token_ids) < 2 or not count:
            return Proposal(())
        self._read(token_ids)
        states_KD = self._block(token_ids, count)[:count]
        if self.head.model.sequential:
            return self._draw_in_turn(states_KD, token_ids[-1])
        q_GV = sampler_probs(self.head.logits(states_KD), self.sampler).cpu()
        return Proposal(tuple(draw_tokens(q_GV, self.generator).tolist()), q_GV)

    def _draw_in_turn(self, states_KD: torch.Tensor, anchor: int) -> Proposal:
        """Return tokens of which each slot reads the one before it."""
        drafted, q_GV = [anchor], []
        for number in range(1, len(states_KD) + 1):
            previous_AK = torch.tensor([drafted], device=states_KD.device)
            joined_X = self.head.model.join(states_KD[None, :number], previous_AK)[0, -1]
            q_GV.append(sampler_probs(self.head.logits(joined_X), self.sampler).cpu())
            drafted.append(int(draw_tokens(q_GV[-1], self.generator)))
        return Proposal(tuple(drafted[1:]), torch.stack(q_GV))

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
class BlockDrafter:
    """A trained block head."""

    head: BlockHead

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
            states_RKX = read_blocks(self.head, text, states.states_of(text), drawn_RK)
            chains = Chains(text, target, samplers)
            for slot in range(size):
                chains.follow(self.head, states_RKX[:, slot])
            yield chains.table(size)

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: torch.Generator
    ) -> BlockSession:
        """Return a session; the engine passes it the target's states."""
        return BlockSession(self.head, prompt_ids, sampler, generator)
