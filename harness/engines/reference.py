"""The plain lossless loop, one prompt at a time, with a KV cache for target and draft.

It is slow and simple: the other engines are compared with it. It records every round. Prefill reads
the prompt except its last token and emits nothing, so the first block starts at the first new
token. A block drafts as many tokens as the length limit allows. Tokens drafted beyond an end token
or a stop string count as drafted, never as accepted.

Legend: T position, G drafted token, H = G + 1, V vocabulary.
"""

# In short: The plain lossless loop, one prompt at a time.
# Needs: nothing else.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import pad

from draftmark.engines._text import GeneratedText
from draftmark.engines.measure.timing import synchronised_time
from draftmark.errors import Unsupported
from draftmark.models.finite import check_logits
from draftmark.models.generation import check_fits, random_stream
from draftmark.models.kv_cache import CachedModel
from draftmark.models.language_model import LanguageModel, load_model
from draftmark.models.sampling import sampler_probs
from draftmark.speculation.interfaces import (
    Drafter,
    EngineSettings,
    FeatureSession,
    Method,
    Session,
)
from draftmark.speculation.tree_drafter import verify_tree
from draftmark.speculation.verification import RULES, Rule
from draftmark.types import Decode, Kind, Prompt, Proposal, Round


@dataclass(frozen=True)
class _Loop:
    target: LanguageModel
    drafter: Drafter | None
    settings: EngineSettings

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt]) -> Iterator[Decode]:
        check_fits(self.target, prompts, self.settings.max_new_tokens)
        for prompt in prompts:
            yield self._decode(prompt)

    def _decode(self, prompt: Prompt) -> Decode:
        generator = random_stream(self.settings.seed, "engine", prompt.example_id)
        started = self._now()
        session = self._session(prompt, generator)
        reader = session if isinstance(session, FeatureSession) else None
        target = CachedModel(self.target, reader.layers if reader else ())
        if before_last := prompt.token_ids[:-1]:
            target.feed(before_last)
            _observe(reader, target, range(len(before_last)))
        prefilled = self._now()
        text = GeneratedText(prompt)
        first_s = 0.0
        while text.reason is None:
            kept = self._round(text, target, session, generator)
            _observe(reader, target, kept)
            first_s = first_s or self._now() - started
        return text.to_decode(
            prefill_s=prefilled - started,
            decode_s=self._now() - prefilled,
            first_token_s=first_s,
        )

    def _session(self, prompt: Prompt, generator: torch.Generator) -> Session | None:
        if self.drafter is None:
            return None
        return self.drafter.start(prompt.token_ids, self.settings.samplers.draft, generator)

    def _round(
        self,
        text: GeneratedText,
        target: CachedModel,
        session: Session | None,
        generator: torch.Generator,
    ) -> list[int]:
        """Draft a block, verify it in one pass of the target, and keep the accepted tokens.

        Return the indices of the tokens kept, among those that the target read.
        """
        ids = text.ids
        left = self.settings.max_new_tokens - len(text.tokens)
        limit = min(self.settings.num_speculative_tokens, left)
        proposal = session.propose(ids, limit) if session else Proposal(())
        drafted = proposal.token_ids
        hidden_TD = target.feed([*ids[len(target.seen) :], *drafted], proposal.parents)
        logits_HV = self.target.logits(hidden_TD[-len(drafted) - 1 :])
        check_logits(logits_HV, text.prompt.example_id, "the target's")
        p_HV = sampler_probs(logits_HV, self.settings.samplers.target).cpu()
        before = len(hidden_TD) - len(drafted)
        if proposal.parents is None:
            rule = RULES[self.settings.verification]
            accepted, following = _verify_chain(rule, proposal, p_HV, generator)
            kept = list(range(accepted))
            target.keep(len(ids) + accepted)
        else:
            kept, following = verify_tree(proposal, p_HV, generator)
            target.keep_nodes(len(ids), kept)
        text.extend([*(drafted[index] for index in kept), following], self.settings)
        text.rounds.append(Round(drafted=len(drafted), accepted=len(kept)))
        return [*range(before), *(before + index for index in kept)]

    def _now(self) -> float:
        return synchronised_time(self.settings.placement.device)


def _verify_chain(
    rule: Rule, proposal: Proposal, p_HV: torch.Tensor, generator: torch.Generator
) -> tuple[int, int]:
    """Return the number of accepted tokens of a chain, and the token that follows them."""
    drafted = proposal.token_ids
    q_GV = proposal.q_GV
    if q_GV is None:  # the tokens were not sampled: each has draft probability 1
        q_GV = torch.zeros(len(drafted), p_HV.shape[-1])
        q_GV[torch.arange(len(drafted)), list(drafted)] = 1.0
    # A head may lack the rows of a few special tokens: their probability is 0.
    width = max(q_GV.shape[-1], p_HV.shape[-1])
    q_GV, p_HV = (pad(each, (0, width - each.shape[-1])) for each in (q_GV, p_HV))
    ids_NG = torch.tensor([drafted], dtype=torch.long)
    kept_N, following_N = rule(ids_NG, q_GV[None], p_HV[None], generator)
    return int(kept_N), int(following_N)


def _observe(reader: FeatureSession | None, target: CachedModel, kept: Sequence[int]) -> None:
    """Pass the last feed's states of the kept tokens to a session that reads features."""
    if reader is not None:
        reader.observe(target.states_TLD[list(kept)])


class ReferenceEngine:
    """Opens the plain loop, which runs every kind of draft, because each proposes in Python."""

    def supports(self, kind: Kind) -> bool:
        """Return True: the loop runs every kind."""
        return True

    def open(
        self, target: Path, method: Method | None, draft: Path | None, settings: EngineSettings
    ) -> _Loop:
        """Load the target, and the draft if one is given; raises Unsupported for batches."""
        if settings.batch_size > 1:
            raise Unsupported(
                f"The reference engine decodes one prompt at a time, not {settings.batch_size}; "
                "set speed.batch_sizes = [1], or choose another speed.engine."
            )
        drafter = None
        if method is not None and draft is not None:
            drafter = method.drafter(draft, settings.draft_placement(target, draft))
        return _Loop(load_model(target, settings.placement), drafter, settings)


ENGINE = ReferenceEngine()
