"""What an engine that counts its own rounds has written so far for a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from draftmark.models.stop_conditions import finish_reason
from draftmark.speculation.interfaces import EngineSettings
from draftmark.types import FinishReason, Prompt, Round


@dataclass
class Written:
    """A prompt with what has been generated so far."""

    prompt: Prompt
    tokens: list[int] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    reason: FinishReason | None = None

    @property
    def ids(self) -> list[int]:
        """The whole text so far."""
        return [*self.prompt.token_ids, *self.tokens]

    def extend(self, tokens: Sequence[int], settings: EngineSettings) -> None:
        """Add tokens up to and including the one that ends the text."""
        for token in tokens:
            if self.reason is None:
                self.tokens.append(token)
                self.reason = finish_reason(self.tokens, settings)

    def rounds_within(self) -> tuple[Round, ...]:
        """Return the rounds without what was drafted beyond the end of the text."""
        rounds, start = [], 0
        for round_ in self.rounds:
            left = len(self.tokens) - start
            rounds.append(Round(min(round_.drafted, left), min(round_.accepted, left)))
            start += round_.accepted + 1
        return tuple(rounds)
