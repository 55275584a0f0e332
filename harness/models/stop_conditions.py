"""Where a response ends: at an end token, at a stop string in its text, or at the length limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from draftmark.types import FinishReason


@dataclass(frozen=True)
class StopStrings:
    """Strings that a model without a chat template writes after its answer, and how to see them.

    The token that completes one is the response's last; what is graded ends before the string.
    """

    strings: tuple[str, ...]
    decode: Callable[[Sequence[int]], str]

    def found(self, tokens: Sequence[int]) -> bool:
        """Say whether the last token completes a stop string, if none was complete before it."""
        # A token has a byte at least; one token more, as some decoders strip the first one's space.
        reach = max(len(string.encode()) for string in self.strings) + 1
        tail = self.decode(list(tokens[-reach:]))
        return any(string in tail for string in self.strings)

    def cut(self, text: str) -> str:
        """Return a text up to the first stop string in it."""
        places = [place for string in self.strings if (place := text.find(string)) >= 0]
        return text[: min(places, default=len(text))]


class Limits(Protocol):
    """What says where a response ends."""

    @property
    def max_new_tokens(self) -> int:
        """The length limit."""

    @property
    def end_tokens(self) -> frozenset[int]:
        """The ids that end a response."""

    @property
    def stop(self) -> StopStrings | None:
        """The strings that do, if any."""


def finish_reason(tokens: Sequence[int], limits: Limits) -> FinishReason | None:
    """Return why a response ends with its last token, or None if it goes on."""
    if tokens[-1] in limits.end_tokens:
        return "stop"
    if limits.stop and limits.stop.found(tokens):
        return "stop_string"
    return "length" if len(tokens) == limits.max_new_tokens else None
