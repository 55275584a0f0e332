"""The text that an engine generates for a prompt, with its rounds."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from draftmark.models.stop_conditions import finish_reason
from draftmark.speculation.interfaces import EngineSettings
from draftmark.types import Decode, FinishReason, Prompt, Round


@dataclass
class GeneratedText:
    """A prompt, the tokens generated so far and their rounds."""

    prompt: Prompt
    tokens: list[int] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    reason: FinishReason | None = None

    @property
    def ids(self) -> list[int]:
        """Token ids of the prompt and of the generated text."""
        return [*self.prompt.token_ids, *self.tokens]

    def extend(self, tokens: Sequence[int], settings: EngineSettings) -> None:
        """Add tokens up to and including the one that ends the text."""
        for token in tokens:
            if self.reason is None:
                self.tokens.append(token)
                self.reason = finish_reason(self.tokens, settings)

    def to_decode(self, *, prefill_s: float, decode_s: float, first_token_s: float) -> Decode:
        """Return the decode of a text that has ended."""
        assert self.reason is not None
        return Decode(
            example_id=self.prompt.example_id,
            token_ids=tuple(self.tokens),
            num_prompt_tokens=len(self.prompt.token_ids),
            rounds=tuple(self._rounds_within()),
            prefill_s=prefill_s,
            decode_s=decode_s,
            finish_reason=self.reason,
            first_token_s=first_token_s,
        )

    def _rounds_within(self) -> list[Round]:
        """Return the rounds, without tokens accepted beyond the end of the text."""
        rounds, start = [], 0
        for round_ in self.rounds:
            left = len(self.tokens) - start
            rounds.append(Round(round_.drafted, min(round_.accepted, left)))
            start += round_.accepted + 1
        return rounds
