"""The drafter of a feature head: it proposes from target features, and is scored by depth.

Scoring follows `speculation.scoring`. At each depth only chains whose tokens may all be accepted
are followed, because the output head is most of the cost; few greedy chains remain.

Legend: T slot, L layer, D hidden size (H beside depths), N position of a response, G drafted token,
V vocabulary; in scoring D depth, R and S start of a chain, A start of a followed chain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import DynamicCache

from draftmark.models.finite import check_logits
from draftmark.models.growing_cache import growing_cache
from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_rollout import roll_forward
from draftmark.models.hidden_states import LiveStates, TargetLogits, batches_by_length
from draftmark.models.language_model import LanguageModel
from draftmark.models.sampling import draw_tokens, sampler_probs
from draftmark.speculation.scoring import greedy_acceptance, probability_ratio
from draftmark.store.acceptance_tables import Floats, all_or_nothing
from draftmark.training.divergences import overlap
from draftmark.types import MAX_GAMMA, AcceptanceTable, Proposal, Sampler, Samplers, Text

# A chain is followed while P(all of its tokens are accepted) exceeds this. The rest of another
# chain would add less than this to any count of its text.
NEGLIGIBLE = 2.0**-40


@dataclass(eq=False)
class FeatureHeadSession:
    """A head with the KV cache of one text; slots of the head's features are dropped each round."""

    head: FeatureHead
    prompt_ids: Sequence[int]
    sampler: Sampler
    generator: torch.Generator
    _cache: DynamicCache = field(default_factory=growing_cache)
    _unread: list[torch.Tensor] = field(default_factory=list)  # features that no slot has read yet
    _slots: int = 0  # cached slots of target features
    _drafted: int = 0  # cached slots of the head's own features, which follow

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers of the target that the head reads."""
        return self.head.model.shape.layers

    def observe(self, states_TLD: torch.Tensor) -> None:
        """Append the target's states [T, L, D] of newly kept tokens.

        The first call prefills the prompt except its last token, as the target does.
        """
        self._unread += self.head.fuse(states_TLD)
        if self._slots == 0 and len(self.prompt_ids) > 2:
            self._read(self.prompt_ids[:-1])

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return `num_tokens` tokens drawn one after the other, with their distributions q_GV.

        Empty after a prompt of one token, which has no feature to start from.
        """
        if len(token_ids) < 2 or not num_tokens:
            return Proposal(())
        feature_D = self._read(token_ids)
        drafted: list[int] = []
        q_GV = []
        for number in range(num_tokens):
            if number:
                feature_D = self._step(drafted[-1:], feature_D[None])[-1]
                self._drafted += 1
            q_GV.append(sampler_probs(self.head.logits(feature_D), self.sampler).cpu())
            drafted.append(int(draw_tokens(q_GV[-1], self.generator)))
        return Proposal(tuple(drafted), torch.stack(q_GV))

    def _read(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Drop the head's own features, read the target's; return the next feature [D].

        Slot i reads the feature of token i and token i + 1, so the last token has no slot yet.
        """
        if self._drafted:
            self._cache.crop(-self._drafted)
            self._drafted = 0
        new = len(token_ids) - 1 - self._slots
        features_TD = torch.stack(self._unread[:new])
        del self._unread[:new]
        hidden_TD = self._step(token_ids[self._slots + 1 :], features_TD)
        self._slots += new
        return hidden_TD[-1]

    def _step(self, following: Sequence[int], features_TD: torch.Tensor) -> torch.Tensor:
        """Return the features [T, D] that follow new slots at the end of the cache."""
        device = self.head.device
        before = self._slots + self._drafted
        slots_K = torch.arange(before + len(following), device=device)
        new_T = slots_K[before:]
        return self.head.step(
            torch.tensor([list(following)], device=device),
            features_TD[None],
            new_T[None],
            (slots_K <= new_T[:, None])[None],
            self._cache,
        )[0]


@dataclass(frozen=True)
class FeatureHeadDrafter:
    """A trained head that proposes a chain of tokens."""

    head: FeatureHead

    @torch.no_grad()
    def score(
        self, texts: Sequence[Text], target: TargetLogits, samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text, for blocks of up to MAX_GAMMA tokens.

        Acceptance is 0 from the depth at which a chain is no longer followed (NEGLIGIBLE). The
        target's body computes its states if `target` has none stored.
        """
        states = target.layer_states or LiveStates(target.target, self.head.model.shape.layers)
        for batch in batches_by_length(texts):
            chains = [Chains(text, target, samplers) for text in batch]
            features = [self.head.fuse(states.states_of(text)) for text in batch]
            depth = min(MAX_GAMMA, max(len(text.response_ids) for text in batch))
            for hidden_BRH in roll_forward(self.head, batch, features, depth):
                for text_chains, hidden_RH in zip(chains, hidden_BRH, strict=True):
                    text_chains.follow(self.head, hidden_RH)
                if not any(len(text_chains.followed) for text_chains in chains):
                    break
            yield from (text_chains.table() for text_chains in chains)

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: torch.Generator
    ) -> FeatureHeadSession:
        """Return a session; the engine passes it the target's states."""
        return FeatureHeadSession(self.head, prompt_ids, sampler, generator)


class Chains:
    """The chains of one text: one from every start of its response, all of the same depth."""

    def __init__(self, text: Text, target: TargetLogits, samplers: Samplers) -> None:
        self._text, self._target, self._samplers = text, target, samplers
        length, self._depth = len(text.response_ids), 0
        self._ratio_SD = np.zeros((length, MAX_GAMMA))
        self._greedy_SD = np.zeros((length, MAX_GAMMA), dtype=np.bool_)
        # P(all tokens so far accepted) by block verification, which accepts the most, of the draft
        # as sampled and of the greedy draft; the running product of the ratios
        self._reach_S, self._greedy_reach_S, self._product_S = torch.ones(
            (3, length), dtype=torch.float64
        )
        self._y_N = torch.tensor(text.response_ids)
        self._p_N = self._overlap_S = self._agree_S = torch.empty(0)
        self._greedy_overlap_S: Floats = np.zeros(length)

    @property
    def followed(self) -> torch.Tensor:
        """The starts [A] of chains that have a token at this depth and may reach it."""
        left = max(len(self._y_N) - self._depth, 0)
        reach_S = torch.maximum(self._reach_S, self._greedy_reach_S)
        return torch.nonzero(reach_S[:left] > NEGLIGIBLE)[:, 0]

    def follow(self, head: LanguageModel, hidden_RH: torch.Tensor) -> None:
        """Score the chains at this depth, from the states of each start that the head reads."""
        starts_A = self.followed
        if len(starts_A):
            logits_AV = head.logits(hidden_RH[starts_A.to(hidden_RH.device)])
            check_logits(logits_AV, self._text.example_id, "the draft's")
            q_AV = sampler_probs(logits_AV, self._samplers.draft)
            if self._depth == 0:
                self._score_first_tokens(logits_AV, q_AV)
            ratio_A = self._ratios(q_AV, starts_A + self._depth)
            self._ratio_SD[starts_A.numpy(), self._depth] = ratio_A.numpy()
            self._product_S[starts_A] *= ratio_A
            self._reach_S = torch.minimum(self._reach_S, self._product_S)
            greedy_A = q_AV.argmax(-1).cpu() == self._y_N[starts_A + self._depth]
            self._greedy_SD[starts_A.numpy(), self._depth] = greedy_A.numpy()
            self._greedy_reach_S[starts_A] *= greedy_A
        self._depth += 1

    def _score_first_tokens(self, logits_NV: torch.Tensor, q_NV: torch.Tensor) -> None:
        """Store p(y), and the overlap and greedy match of the first drafted tokens."""
        target_logits_NV = self._target.logits(self._text)
        check_logits(target_logits_NV, self._text.example_id, "the target's")
        p_NV = sampler_probs(target_logits_NV, self._samplers.target)
        self._p_N = p_NV.gather(-1, self._y_N[:, None].to(p_NV.device))[:, 0].double().cpu()
        self._overlap_S = overlap(q_NV, p_NV).double().cpu()
        self._greedy_overlap_S = greedy_acceptance(q_NV, p_NV, self._y_N)["greedy_overlap_S"]
        self._agree_S = (logits_NV.argmax(-1) == target_logits_NV.argmax(-1)).double().cpu()

    def _ratios(self, q_AV: torch.Tensor, positions_A: torch.Tensor) -> torch.Tensor:
        """Return q(y) / p(y) [A] at some positions of the text."""
        y_A, p_A = self._y_N[positions_A], self._p_N[positions_A]
        q_A = q_AV.gather(-1, y_A[:, None].to(q_AV.device))[:, 0].double().cpu()
        ratio_A = probability_ratio(p_A, q_A)
        impossible_A = p_A == 0
        if impossible_A.any():  # by rounding: take the probability that any token was accepted
            ratio_A[impossible_A] = self._overlap(
                q_AV[impossible_A.to(q_AV.device)], positions_A[impossible_A]
            )
        return ratio_A

    def _overlap(self, q_AV: torch.Tensor, positions_A: torch.Tensor) -> torch.Tensor:
        logits_NV = self._target.logits(self._text)
        p_AV = sampler_probs(logits_NV[positions_A.to(logits_NV.device)], self._samplers.target)
        return overlap(q_AV, p_AV).double().cpu()

    def table(self, longest: int = MAX_GAMMA) -> AcceptanceTable:
        """Return the acceptance table of the text, of a draft that proposes `longest` tokens."""
        sampled = self._samplers.draft.temperature > 0
        accept_SD = np.minimum(self._ratio_SD, 1.0)
        return AcceptanceTable(
            self._text.example_id,
            accept_SD,
            np.full(len(self._y_N), longest),
            self._overlap_S.numpy(),
            self._agree_S.numpy(),
            greedy_SD=self._greedy_SD if sampled else None,
            greedy_overlap_S=self._greedy_overlap_S if sampled else None,
            ratio_SD=None if all_or_nothing(accept_SD) else self._ratio_SD,
        )
