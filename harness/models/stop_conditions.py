"""Stop conditions: an end token, a stop string in the text, or the length limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from draftmark.types import FinishReason


@dataclass(frozen=True)
class StopStrings:
    """Strings that a model without a chat template writes after its answer.

    The token that completes a string ends the response; the graded text ends before the string.
    """

    strings: tuple[str, ...]
    decode: Callable[[Sequence[int]], str]

    def completes(self, tokens: Sequence[int]) -> bool:
        """True if the last token completes a stop string, given that none was complete before."""
        # A token has at least one byte; + 1 because some decoders strip the first token's space.
        reach = max(len(string.encode()) for string in self.strings) + 1
        tail = self.decode(list(tokens[-reach:]))
        return any(string in tail for string in self.strings)

    def cut(self, text: str) -> str:
        """Return a text up to its first stop string."""
        starts = [start for string in self.strings if (start := text.find(string)) >= 0]
        return text[: min(starts, default=len(text))]


class Limits(Protocol):
    """The stop conditions of a response."""

    @property
    def max_new_tokens(self) -> int:
        """The length limit."""

    @property
    def end_tokens(self) -> frozenset[int]:
        """The ids that end a response."""

    @property
    def stop(self) -> StopStrings | None:
        """The strings that end a response, if any."""


def finish_reason(tokens: Sequence[int], limits: Limits) -> FinishReason | None:
    """Return why a response ends with its last token, or None if it continues."""
    if tokens[-1] in limits.end_tokens:
        return "stop"
    if limits.stop and limits.stop.completes(tokens):
        return "stop_string"
    return "length" if len(tokens) == limits.max_new_tokens else None
