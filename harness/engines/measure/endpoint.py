"""An OpenAI-compatible endpoint: one streamed chat completion, and the server's own counters."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from draftmark.engines.measure.draft_counters import Counters, parse_metrics, read_counters
from draftmark.engines.measure.reply_counts import (
    LlamaTimings,
    SglangReply,
    VllmMetrics,
    sglang_block,
)
from draftmark.engines.measure.served_model import ServedModel, find_model
from draftmark.errors import UserError
from draftmark.grading.http_client import HttpClient, RequestFailed
from draftmark.store.served_records import RequestCounts

_SHOWN = 200  # characters of an event in a message
_GAUGES = ("sglang:spec_accept_length", "sglang:spec_accept_rate")
# What servers report of the tokens that have arrived, with each event.
_TOKENS_SO_FAR: Mapping[str, Mapping[str, Any]] = {
    "vLLM": {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    "SGLang": {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    "llama.cpp": {"timings_per_token": True},
}


@dataclass(frozen=True)
class Reply:
    """The reply to a request, with the seconds from the request to its first token and its end.

    `first_tokens`: the tokens that had arrived with the first text, None if the server does not
    say. `pieces`: the number of events that had text; 0 if the reply has tokens but no text, whose
    first token is then taken for its end.
    """

    text: str
    num_tokens: int
    first_token_s: float
    total_s: float
    finish_reason: str
    first_tokens: int | None = None
    pieces: int = 2
    counts: RequestCounts | None = None

    @property
    def later_tokens(self) -> int | None:
        """The tokens that arrived after the first text; None if that is not known.

        A server that does not count along is taken to send its first token alone, but not if the
        whole reply arrived in one piece.
        """
        if self.first_tokens is not None:
            return self.num_tokens - self.first_tokens
        return self.num_tokens - 1 if self.num_tokens == 1 or self.pieces > 1 else None


class _Message(BaseModel):
    """A part of an event; fields that draftmark does not read are ignored."""

    model_config = ConfigDict(strict=True)


class _Usage(_Message):
    completion_tokens: int = Field(ge=0)


class _Function(_Message):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(_Message):
    function: _Function | None = None


class _Delta(_Message):
    content: str | None = None
    reasoning: str | None = None  # vLLM's name of the next
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None

    @property
    def text(self) -> str:
        """All that the model wrote: thoughts, content, names and arguments of calls."""
        calls = [call.function for call in self.tool_calls or () if call.function]
        called = (part for call in calls for part in (call.name, call.arguments))
        thought = self.reasoning or self.reasoning_content
        return "".join(filter(None, (thought, self.content, self.refusal, *called)))


class _Choice(_Message):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Event(_Message):
    usage: _Usage | None = None
    choices: list[_Choice] | None = None
    metrics: VllmMetrics | None = None
    timings: LlamaTimings | None = None
    error: Any = None

    @property
    def tokens(self) -> int | None:
        """The tokens that have arrived, where the server says so."""
        if self.usage:
            return self.usage.completion_tokens
        return self.timings.predicted_n if self.timings else None


@dataclass
class _Heard:
    """What has arrived of a stream that began at `started`."""

    started: float
    parts: list[str] = field(default_factory=list)
    first_s: float | None = None
    first_tokens: int | None = None
    ended_s: float | None = None  # when the reason of the end arrived
    tokens: int | None = None
    reason: str = ""
    counts: RequestCounts | None = None

    def add(self, event: _Event) -> None:
        """Add an event; raises ValueError for counts that no server can have."""
        now = perf_counter() - self.started
        self.tokens = self.tokens if event.tokens is None else event.tokens
        for choice in event.choices or ():
            if part := choice.delta.text if choice.delta else "":
                if self.first_s is None:
                    self.first_s, self.first_tokens = now, event.tokens
                self.parts.append(part)
            if choice.finish_reason:
                self.reason, self.ended_s = choice.finish_reason, now
        for found in (event.metrics, event.timings):
            self.counts = (found.counts() if found else None) or self.counts

    def reply(self, total_s: float) -> Reply | None:
        """Return the reply; None if no token of it is known."""
        first_s = self.ended_s if self.first_s is None else self.first_s
        if first_s is None or not self.tokens:
            return None
        known = self.first_tokens if self.parts else self.tokens
        first_tokens = known if known and known <= self.tokens else None
        return Reply(
            "".join(self.parts),
            self.tokens,
            first_s,
            total_s,
            self.reason,
            first_tokens,
            len(self.parts),
            self.counts,
        )


@dataclass(frozen=True)
class Endpoint:
    """A model at a server; its methods raise UserError, naming the URL, for a failed request.

    `served` is what the server says about the model.
    """

    client: HttpClient
    model: str
    served: ServedModel | None = None

    @classmethod
    def find(cls, client: HttpClient, wanted: str | None) -> "Endpoint":
        """Return the endpoint of a model that the server may know by another name."""
        served = find_model(client, wanted)
        return cls(client, served.name, served)

    @property
    def software(self) -> str:
        """The server's software; "" if unknown."""
        return self.served.software if self.served else ""

    def complete(self, messages: Sequence[Mapping[str, str]], options: Mapping[str, Any]) -> Reply:
        """Return the reply to a chat; `num_tokens` is the server's own count."""
        fields = {
            **options,
            "model": self.model,
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            **_TOKENS_SO_FAR.get(self.software, {}),
        }
        heard = _Heard(perf_counter())
        try:
            for event in map(_parse_event, self.client.events("chat/completions", fields)):
                heard.add(event)
        except RequestFailed as failure:
            raise self._failed(failure) from None
        except ValueError as error:
            raise self._failed(f"its counts are impossible, {error}") from None
        reply = heard.reply(perf_counter() - heard.started)
        if reply is None:
            raise self._failed("it streams no token, or no usage at the end of the stream")
        if reply.num_tokens > (limit := options.get("max_tokens", reply.num_tokens)):
            raise self._failed(f"it counts {reply.num_tokens} tokens in a reply of at most {limit}")
        return reply

    @property
    def counts_untimed(self) -> bool:
        """True if the server has counts of a request only in replies that it does not stream."""
        return self.software == "SGLang"

    def counted_reply(
        self, messages: Sequence[Mapping[str, str]], options: Mapping[str, Any]
    ) -> Reply:
        """Return an untimed reply with SGLang's counts, which it does not stream."""
        facts = self.served.facts if self.served else {}
        fields = {**options, "model": self.model, "messages": list(messages)}
        try:
            text = self.client.read("chat/completions", {**fields, "return_meta_info": True})
            found = SglangReply.model_validate_json(text)
            block = sglang_block(facts)
            counts = found.meta.counts(block) if found.meta else None
        except RequestFailed as failure:
            raise self._failed(failure) from None
        except ValueError as error:  # a ValidationError is one
            raise self._failed(f"its meta_info cannot be read, {str(error)[:_SHOWN]}") from None
        return Reply(found.content, found.usage.completion_tokens, 0.0, 0.0, "", counts=counts)

    def counters(self) -> Counters | None:
        """Return this model's counters at /metrics; None if the server has no such page.

        Raises UserError for a page with a counter that cannot be one.
        """
        names = self.served.names if self.served else (self.model,)
        try:
            return read_counters(self.client.read("/metrics"), names)
        except RequestFailed as failure:
            if failure.status in (404, 405, 501):
                return None
            raise self._failed(f"/metrics: {failure}") from None
        except ValueError as error:
            raise self._failed(f"/metrics: {error}") from None

    def gauges(self) -> dict[str, float]:
        """Return SGLang's own gauges of drafts at /metrics, of its last moments, by name."""
        if self.software != "SGLang":
            return {}
        with suppress(RequestFailed):
            samples = parse_metrics(self.client.read("/metrics"))
            return {item.name: item.value for item in samples if item.name in _GAUGES}
        return {}

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
