"""Suffix decoding: the draft continues as earlier text did, by its counts (Oliaro et al. 2024).

arXiv 2411.04975; code https://github.com/snowflakedb/ArcticInference at 9d46438, which vLLM runs as
method "suffix". A tree counts what followed every sequence of up to `max_depth` tokens in the
prompt and the response so far. A match of n last tokens drafts the likeliest continuation, at most
n `max_spec_factor` tokens, while its estimated probability is at least `min_token_prob`; of all
matches the one with the highest sum of estimated probabilities drafts.

With `cache_responses` a second tree has the responses to earlier requests, as a server would keep
them (vLLM: the last 10,000; here all). Acceptance then depends on the order of requests: scoring
replays the rows in their order, one request at a time. No engine here runs that, because a timed
run repeats its prompts and would find its own answers.

Deviation: engines compare candidates by as many tokens as the block may have, so a shorter block
may follow another candidate. Here `max_depth` tokens are compared for every block length, which is
what vLLM does at its default length, 24; a shorter block is cut.
"""

# In short: Suffix decoding: continues as earlier text did.
# Trains: nothing.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from draftmark.errors import Unsupported
from draftmark.speculation.methods import TrainingFreeMethod
from draftmark.speculation.suffix_tree import SuffixTree
from draftmark.types import (
    MAX_GAMMA,
    AcceptanceTable,
    Proposal,
    Sampler,
    Samplers,
    Text,
)

if TYPE_CHECKING:
    import torch

    from draftmark.models.hidden_states import TargetLogits


@dataclass(frozen=True)
class Suffix(TrainingFreeMethod):
    """`max_depth`, `max_spec_factor`, `min_token_prob`: vLLM's, with its defaults; see above.

    The method is its own drafter. Proposals are deterministic, so samplers do not matter.
    """

    max_depth: Annotated[int, Field(ge=2, le=MAX_GAMMA)] = 24
    max_spec_factor: Annotated[float, Field(gt=0)] = 1.0
    min_token_prob: Annotated[float, Field(ge=0, le=1)] = 0.1
    cache_responses: bool = False

    def score(
        self, texts: Sequence[Text], target: "TargetLogits", samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text, in the order of requests."""
        from draftmark.speculation.scoring import score_deterministic

        earlier = SuffixTree(self.max_depth) if self.cache_responses else None
        for text in texts:
            session = SuffixSession(self, text.prompt_ids, earlier)
            yield from score_deterministic(_always(session), [text], target, samplers)
            session.read((*text.prompt_ids, *text.response_ids))

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: "torch.Generator"
    ) -> "SuffixSession":
        """Return a session of one prompt; raises Unsupported with `cache_responses`."""
        if self.cache_responses:
            raise Unsupported(
                "suffix with cache_responses = true is scored, not run: a timed run repeats its "
                "prompts and would find its own answers; set speed = false, or cache_responses = "
                "false."
            )
        return SuffixSession(self, prompt_ids, None)


def _always(session: "SuffixSession") -> "Callable[[Sequence[int]], SuffixSession]":
    return lambda _: session


class SuffixSession:
    """The trees of one request: of its prompt and response, and of the earlier responses."""

    def __init__(
        self, method: Suffix, prompt_ids: Sequence[int], earlier: SuffixTree | None
    ) -> None:
        self._method, self._earlier = method, earlier
        self._own = SuffixTree(method.max_depth)
        self._own.extend(prompt_ids)
        self._read = len(prompt_ids)
        if earlier is not None:
            earlier.start_text()

    def read(self, token_ids: Sequence[int]) -> None:
        """Add the tokens of the response that are new in `token_ids`, the whole text so far."""
        new = token_ids[self._read :]
        self._own.extend(new)
        if self._earlier is not None:
            self._earlier.extend(new)
        self._read = len(token_ids)

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return up to `num_tokens` tokens of the likeliest continuation of `token_ids`."""
        self.read(token_ids)
        method = self._method
        last = token_ids[-method.max_depth :]
        limits = (method.max_depth, method.max_spec_factor, method.min_token_prob)
        best = self._own.best_continuation(last, *limits)
        if self._earlier is not None:
            other = self._earlier.best_continuation(last, *limits)
            best = other if other.score > best.score else best
        return Proposal(best.tokens[:num_tokens])


METHOD = Suffix
