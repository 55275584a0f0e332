"""What `generate` does for an engine of transformers, seen through the library's public seams.

The tokens that go into the target at each pass (a forward hook) and those that come out of it (a
streamer) tell the rounds: a drafted token was accepted if it was emitted, for what replaces a
rejected one is never it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from draftmark.engines._text import Written
from draftmark.speculation.interfaces import EngineSettings
from draftmark.types import Decode, Prompt, Round


@dataclass
class Passes(BaseStreamer):  # type: ignore[misc]
    """What went into each pass of the target, what came out of it, and when."""

    read: list[torch.Tensor] = field(default_factory=list)
    given: list[torch.Tensor] = field(default_factory=list)  # the prompt first
    at_s: list[float] = field(default_factory=list)

    def hook(self, model: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Note the tokens that a pass reads; they are looked at when all is over."""
        self.read.append(kwargs["input_ids"])

    def put(self, value: torch.Tensor) -> None:
        """Note the tokens that a pass gave."""
        self.given.append(value)
        self.at_s.append(perf_counter())

    def end(self) -> None:
        """Nothing is held back."""

    def decode(self, prompt: Prompt, row: int, settings: EngineSettings, started: float) -> Decode:
        """Return what a row of a batch became, of what was noted since `started`."""
        text, ended = Written(prompt), self.at_s[-1]
        for read, given, at_s in zip(self.read, self.given[1:], self.at_s[1:], strict=True):
            if text.reason:
                break  # others of the batch go on
            before, ended = len(text.ids), at_s
            known = len(prompt.token_ids) if read is self.read[0] else 1
            drafted = read[row].tolist()[known:] if len(read) == 1 else []
            emitted = given.reshape(-1).tolist() if len(read) == 1 else [int(given[row])]
            text.extend(emitted, settings)
            text.rounds.append(Round(len(drafted), _agreeing(drafted, text.ids[before:])))
        assert text.reason is not None
        first_token_s = self.at_s[1] - started
        return Decode(
            example_id=prompt.example_id,
            token_ids=tuple(text.tokens),
            num_prompt_tokens=len(prompt.token_ids),
            rounds=text.rounds_within(),
            prefill_s=first_token_s,
            decode_s=ended - self.at_s[1],
            finish_reason=text.reason,
            first_token_s=first_token_s,
        )


@dataclass(frozen=True)
class Unpadded(LogitsProcessor):  # type: ignore[misc]
    """Rules out the ids beyond the tokenizer's, which pad a head."""

    vocab_size: int

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, self.vocab_size :] = -torch.inf
        return scores


@dataclass(frozen=True)
class Ended(StoppingCriteria):  # type: ignore[misc]
    """Ends a text with the pass that completes it: `generate` knows of no stop strings here."""

    prompts: Sequence[Prompt]
    settings: EngineSettings

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        ended = [_ended(row[-self._new(input_ids) :], self.settings) for row in input_ids.tolist()]
        return torch.tensor(ended, device=input_ids.device)

    def _new(self, ids_BT: torch.Tensor) -> int:
        return ids_BT.shape[1] - max(len(prompt.token_ids) for prompt in self.prompts)


def _ended(tokens: Sequence[int], settings: EngineSettings) -> bool:
    """Say whether any of the tokens of the last pass ends a text."""
    stop, last = settings.stop, settings.num_speculative_tokens + 1
    ends = range(max(len(tokens) - last, 0), len(tokens))
    return stop is not None and any(stop.found(tokens[: end + 1]) for end in ends)


def _agreeing(drafted: Sequence[int], emitted: Sequence[int]) -> int:
    """Return how many drafted tokens were emitted, up to the first that was not."""
    pairs = enumerate(zip(drafted, emitted, strict=False))
    return next(
        (place for place, (token, other) in pairs if token != other),
        min(len(drafted), len(emitted)),
    )
