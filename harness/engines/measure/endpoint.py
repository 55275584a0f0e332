"""An OpenAI-compatible endpoint: one streamed chat completion, and the server's own counters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from draftmark.engines.measure.draft_counters import Counters, read_counters
from draftmark.errors import UserError
from draftmark.grading.http_client import HttpClient, RequestFailed

_SHOWN = 200  # characters of an event in a message


@dataclass(frozen=True)
class Reply:
    """The reply to a request, with the seconds from the request to its first token and its end."""

    text: str
    num_tokens: int
    first_token_s: float
    total_s: float
    finish_reason: str


class _Message(BaseModel):
    """A part of an event; fields that draftmark does not read are ignored."""

    model_config = ConfigDict(strict=True)


class _Usage(_Message):
    completion_tokens: int = Field(ge=0)


class _Delta(_Message):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(_Message):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Event(_Message):
    usage: _Usage | None = None
    choices: list[_Choice] | None = None
    error: Any = None


@dataclass(frozen=True)
class Endpoint:
    """A model at a server; its methods raise UserError, naming the URL, for a failed request."""

    client: HttpClient
    model: str

    def complete(self, messages: Sequence[Mapping[str, str]], options: Mapping[str, Any]) -> Reply:
        """Return the reply to a chat; `num_tokens` is the server's own count."""
        fields = {
            **options,
            "model": self.model,
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        started, first_s, parts = perf_counter(), None, []
        reason, num_tokens = "", None
        try:
            for event in map(_parse_event, self.client.events("chat/completions", fields)):
                if event.usage:
                    num_tokens = event.usage.completion_tokens
                for choice in event.choices or ():
                    delta = choice.delta or _Delta()
                    if part := delta.content or delta.reasoning_content:
                        first_s = first_s or perf_counter() - started
                        parts.append(part)
                    reason = choice.finish_reason or reason
        except RequestFailed as failure:
            raise self._failed(failure) from None
        total_s = perf_counter() - started
        if first_s is None or not num_tokens:
            raise self._failed("it streams no token, or no usage at the end of the stream")
        if num_tokens > (limit := options.get("max_tokens", num_tokens)):
            raise self._failed(f"it counts {num_tokens} tokens in a reply of at most {limit}")
        return Reply("".join(parts), num_tokens, first_s, total_s, reason)

    def counters(self) -> Counters | None:
        """Return this model's counters at /metrics; None if the server has no such page.

        Raises UserError for a page with a counter that cannot be one.
        """
        try:
            return read_counters(self.client.read("/metrics"), self.model)
        except RequestFailed as failure:
            if failure.status in (404, 405):
                return None
            raise self._failed(f"/metrics: {failure}") from None
        except ValueError as error:
            raise self._failed(f"/metrics: {error}") from None

    def _failed(self, reason: object) -> UserError:
        return UserError(
            f"The model {self.model!r} at {self.client.url} cannot be measured: {reason}; fix "
            "that and measure again."
        )


def _parse_event(data: str) -> _Event:
    """Return an event of a stream; raises RequestFailed if it is not a part of a completion."""
    try:
        event = _Event.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "JSON"
        raise RequestFailed(
            f"it streams a malformed event ({place}: {first['msg']}), {data[:_SHOWN]!r}", 200
        ) from None
    if event.error:
        raise RequestFailed(f"it streams an error, {data[:_SHOWN]!r}", 200)
    return event
