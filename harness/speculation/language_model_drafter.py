"""The drafter of a language model: it proposes token by token, and is scored in one pass.

The draft's distribution at a position does not depend on the start of the block, so one
teacher-forced pass fills the acceptance table of every block length.

Legend: G drafted token, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from draftmark.errors import UserError
from draftmark.models.finite import check_logits
from draftmark.models.hidden_states import TargetLogits, hidden_states
from draftmark.models.kv_cache import CachedModel
from draftmark.models.language_model import LanguageModel, cut_or_widen
from draftmark.models.sampling import draw_tokens, sampler_probs
from draftmark.speculation.scoring import greedy_acceptance, probability_ratio
from draftmark.store.acceptance_tables import sliding_table
from draftmark.training.divergences import overlap
from draftmark.types import MAX_GAMMA, AcceptanceTable, Proposal, Sampler, Samplers, Text

# Rounding gives a few tokens of a text probability 0 (ties at temperature 0, edges of a nucleus).
# If a larger share of tokens has probability 0, the target did not write the texts.
MAX_IMPOSSIBLE = 0.05


class LanguageModelSession:
    """A draft model with the KV cache of one text; it reads all but the prompt's last token."""

    def __init__(
        self,
        model: LanguageModel,
        prompt_ids: Sequence[int],
        sampler: Sampler,
        generator: torch.Generator,
    ) -> None:
        self._cached, self._sampler, self._generator = CachedModel(model), sampler, generator
        if len(prompt_ids) > 1:
            self._cached.feed(prompt_ids[:-1])

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return `num_tokens` tokens drawn one after the other, with their distributions q_GV."""
        longest = len(token_ids) + num_tokens
        if longest > self._cached.model.max_positions:
            raise UserError(
                f"A text of {longest} tokens does not fit the draft's context of "
                f"{self._cached.model.max_positions}; lower evaluation.max_new_tokens, or take a "
                "draft with a longer context."
            )
        # The cache still has rejected tokens: keep the prefix that agrees with the text.
        self._cached.keep(_agreeing(self._cached.seen, token_ids))
        unread = token_ids[len(self._cached.seen) :]
        drafted: list[int] = []
        q_GV = []
        for _ in range(num_tokens):
            logits_V = self._cached.model.logits(self._cached.feed(unread)[-1])
            check_logits(logits_V[None], "this text", "the draft's")
            q_GV.append(sampler_probs(logits_V, self._sampler).cpu())
            drafted.append(int(draw_tokens(q_GV[-1], self._generator)))
            unread = drafted[-1:]
        return Proposal(tuple(drafted), torch.stack(q_GV))


def _agreeing(seen: Sequence[int], token_ids: Sequence[int]) -> int:
    """Return the number of leading tokens that agree, at most all but the last of `token_ids`."""
    limit = min(len(seen), len(token_ids) - 1)
    return next((index for index in range(limit) if seen[index] != token_ids[index]), limit)


@dataclass(frozen=True)
class LanguageModelDrafter:
    """A trained language model as a drafter."""

    model: LanguageModel

    @torch.no_grad()
    def score(
        self, texts: Sequence[Text], target: TargetLogits, samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text, for blocks of up to MAX_GAMMA tokens.

        Raises ValueError, at the end, if the target cannot have written the texts with its sampler.
        """
        impossible, tokens = 0, 0
        for text, hidden_ND in hidden_states(self.model, texts):
            target_logits_NV = target.logits(text)
            draft_logits_NV = cut_or_widen(self.model.logits(hidden_ND), target_logits_NV.shape[-1])
            check_logits(draft_logits_NV, text.example_id, "the draft's")
            check_logits(target_logits_NV, text.example_id, "the target's")
            q_NV = sampler_probs(draft_logits_NV, samplers.draft)
            p_NV = sampler_probs(target_logits_NV, samplers.target)
            y_N = torch.tensor(text.response_ids, device=q_NV.device)
            p_N, q_N = (probs_NV.gather(-1, y_N[:, None])[:, 0] for probs_NV in (p_NV, q_NV))
            overlap_N = overlap(q_NV, p_NV)
            agree_N = draft_logits_NV.argmax(-1) == target_logits_NV.argmax(-1)
            # Where rounding made y impossible: the probability that any token was accepted.
            ratio_N = torch.where(p_N > 0, probability_ratio(p_N, q_N), overlap_N.double())
            ratio_S, overlap_S, match_S = (
                values_N.double().cpu().numpy() for values_N in (ratio_N, overlap_N, agree_N)
            )
            greedy = greedy_acceptance(q_NV, p_NV, y_N) if samplers.draft.temperature else {}
            yield sliding_table(
                text.example_id,
                accept_S=np.minimum(ratio_S, 1.0),
                overlap_S=overlap_S,
                greedy_match_S=match_S,
                depth=MAX_GAMMA,
                ratio_S=ratio_S,
                **greedy,
            )
            impossible, tokens = impossible + int((p_N == 0).sum()), tokens + len(y_N)
        if impossible > MAX_IMPOSSIBLE * tokens:
            raise ValueError(
                f"{impossible} of {tokens} tokens of these texts have probability 0 under the "
                "target's sampler: the target did not write them with it"
            )

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: torch.Generator
    ) -> LanguageModelSession:
        """Return a session that has read the prompt, except its last token."""
        return LanguageModelSession(self.model, prompt_ids, sampler, generator)
