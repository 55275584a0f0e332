"""An OpenAI-compatible endpoint: one streamed chat completion, and the server's own counters.

vLLM's counters (`v1/spec_decode/metrics.py`) count drafts, drafted tokens, accepted tokens, and
accepted tokens by position. They cover all traffic of the server, so a measurement needs an
otherwise idle server: the requests that the server finished are compared with those that were sent.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from draftmark.errors import UserError
from draftmark.grading.http_client import HttpClient, RequestFailed

# A line of a page in Prometheus' text format: name, labels, value, time.
_SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\d+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_DRAFTS = "vllm:spec_decode_num_drafts"
_DRAFTED = "vllm:spec_decode_num_draft_tokens"
_ACCEPTED = "vllm:spec_decode_num_accepted_tokens"
_BY_POSITION = "vllm:spec_decode_num_accepted_tokens_per_pos"
_FINISHED = "vllm:request_success"


@dataclass(frozen=True)
class Reply:
    """The reply to a request, with the seconds from the request to its first token and its end."""

    text: str
    num_tokens: int
    first_token_s: float
    total_s: float
    finish_reason: str


@dataclass(frozen=True)
class Sample:
    """One value of a server's metrics."""

    name: str
    labels: Mapping[str, str]
    value: float


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
            for event in self.client.events("chat/completions", fields):
                if usage := event.get("usage"):
                    num_tokens = usage["completion_tokens"]
                for choice in event.get("choices") or ():
                    delta = choice.get("delta") or {}
                    if part := delta.get("content") or delta.get("reasoning_content"):
                        first_s = first_s or perf_counter() - started
                        parts.append(part)
                    reason = choice.get("finish_reason") or reason
        except RequestFailed as failure:
            raise self._failed(failure) from None
        total_s = perf_counter() - started
        if first_s is None or not num_tokens:
            raise self._failed("it streams no token, or no usage at the end of the stream")
        return Reply("".join(parts), int(num_tokens), first_s, total_s, reason)

    def metrics(self) -> list[Sample] | None:
        """Return the metrics of this model at /metrics; None if the server has no such page."""
        try:
            samples = list(parse_metrics(self.client.read("/metrics")))
        except RequestFailed as failure:
            if failure.status in (404, 405):
                return None
            raise self._failed(f"/metrics: {failure}") from None
        return [s for s in samples if s.labels.get("model_name", self.model) == self.model]

    def _failed(self, reason: object) -> UserError:
        return UserError(
            f"The model {self.model!r} at {self.client.url} cannot be measured: {reason}; fix "
            "that and measure again."
        )


@dataclass(frozen=True)
class DraftCounts:
    """Increases of a server's counters; `drafts` is 0 if the server does not speculate."""

    drafts: int
    drafted: int
    accepted: int
    by_position: tuple[int, ...]
    finished: int | None  # requests; None if the server does not count them

    @property
    def mean_acceptance_length(self) -> float:
        """1 + accepted / drafts, as vLLM logs it."""
        return 1 + self.accepted / self.drafts

    @property
    def draft_acceptance_rate(self) -> float:
        """Accepted / drafted, as vLLM logs it."""
        return self.accepted / self.drafted


def parse_metrics(text: str) -> Iterator[Sample]:
    """Yield the finite samples of a page in Prometheus' text format."""
    for line in text.splitlines():
        match = _SAMPLE.match(line.strip())
        if not match:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if math.isfinite(value):
            yield Sample(match[1], dict(_LABEL.findall(match[2] or "")), value)


def count_drafts(
    before: Sequence[Sample] | None, after: Sequence[Sample] | None
) -> DraftCounts | None:
    """Return the counters' increases, None without metrics; raises UserError if a counter fell."""
    if before is None or after is None:
        return None
    positions = {s.labels.get("position") for s in after if _is(s, _BY_POSITION)}
    has_finished = any(_is(sample, _FINISHED) for sample in after)
    return DraftCounts(
        drafts=_rise(before, after, _DRAFTS),
        drafted=_rise(before, after, _DRAFTED),
        accepted=_rise(before, after, _ACCEPTED),
        by_position=tuple(
            _rise(before, after, _BY_POSITION, str(index)) for index in range(len(positions))
        ),
        finished=_rise(before, after, _FINISHED) if has_finished else None,
    )


def _rise(
    before: Sequence[Sample], after: Sequence[Sample], name: str, position: str | None = None
) -> int:
    rise = _total(after, name, position) - _total(before, name, position)
    if rise < 0:
        raise UserError(f"The counter {name} fell: the server was restarted; measure again.")
    return round(rise)


def _total(samples: Sequence[Sample], name: str, position: str | None) -> float:
    named = (s for s in samples if _is(s, name))
    return sum(s.value for s in named if position is None or s.labels.get("position") == position)


def _is(sample: Sample, name: str) -> bool:
    return sample.name in (name, f"{name}_total")  # Prometheus clients add _total
