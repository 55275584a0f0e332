"""An OpenAI-compatible endpoint: one streamed chat completion, and the server's own counters.

The key is sent there and goes nowhere else, as in harness/grading/chat.py: what a server says is
stripped of it, and redirects, which would carry it elsewhere, are refused.
"""

import http.client
import json
import math
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from draftmark.errors import UserError

_SHOWN = 200  # characters of what a server said
_MAX_BYTES = 2**24
_SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\d+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Reply:
    """What came of a request, with the seconds from it to its first token and to its end."""

    text: str
    num_tokens: int
    first_token_s: float
    total_s: float
    finish_reason: str


@dataclass(frozen=True)
class Sample:
    """A line of a server's metrics."""

    name: str
    labels: Mapping[str, str]
    value: float


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Refuse: the error that follows names the status."""


@dataclass(frozen=True)
class Endpoint:
    """A model at a base URL, such as http://127.0.0.1:8000/v1.

    Raises UserError for a URL with anything in it that may be secret.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        """Refuse what may hold a key, without repeating it."""
        place = urlsplit(self.url)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise UserError(
                'The endpoint is a URL such as "http://127.0.0.1:8000/v1"; give its own.'
            )
        if place.username or place.password or place.query or place.fragment:
            raise UserError(
                "The endpoint is a URL without user, password, query or fragment; name the "
                "environment variable that holds a key by --key-variable."
            )

    def complete(self, messages: Sequence[Mapping[str, str]], options: Mapping[str, Any]) -> Reply:
        """Return the reply to a chat; raises UserError, naming the endpoint, if there is none."""
        fields = {
            **options,
            "model": self.model,
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        started, first_s, parts = perf_counter(), None, []
        reason, counted = "", None
        for event in self._events(f"{self.url.rstrip('/')}/chat/completions", fields):
            if usage := event.get("usage"):
                counted = usage["completion_tokens"]
            for choice in event.get("choices") or ():
                delta = choice.get("delta") or {}
                if part := delta.get("content") or delta.get("reasoning_content"):
                    first_s = first_s or perf_counter() - started
                    parts.append(part)
                reason = choice.get("finish_reason") or reason
        total_s = perf_counter() - started
        if first_s is None or not counted:
            raise self._failed("it streams no token, or no usage at the end of the stream")
        return Reply("".join(parts), int(counted), first_s, total_s, reason)

    def metrics(self) -> list[Sample] | None:
        """Return the server's counters of this model at /metrics; None if it has no such page."""
        place = urlsplit(self.url)
        try:
            with closing(self._open(f"{place.scheme}://{place.netloc}/metrics")) as got:
                text = got.read(_MAX_BYTES).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (404, 405):
                return None
            raise self._failed(f"status {error.code} of /metrics") from None
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(self._harmless(str(error))) from None
        samples = list(parse(text))
        return [s for s in samples if s.labels.get("model_name", self.model) == self.model]

    def _events(self, url: str, fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield what a stream of server-sent events holds, as it comes."""
        try:
            with closing(self._open(url, json.dumps(fields).encode())) as stream:
                for line in stream:
                    said = line.decode("utf-8", "replace").strip()
                    if said.startswith("data:") and said != "data: [DONE]":
                        yield json.loads(said.removeprefix("data:"))
        except urllib.error.HTTPError as error:
            with error:
                said = self._harmless(error.read(_MAX_BYTES).decode("utf-8", "replace"))
            raise self._failed(f"status {error.code}, {said[:_SHOWN]!r}") from None
        except ValueError:
            raise self._failed("what it streams is no chat completion") from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            raise self._failed(self._harmless(reason)) from None

    def _open(self, url: str, data: bytes | None = None) -> Any:
        headers = {"Content-Type": "application/json", "User-Agent": "draftmark"}
        request = urllib.request.Request(url, data=data, headers=headers)
        if self.key:
            request.add_unredirected_header("Authorization", f"Bearer {self.key}")
        opener = urllib.request.build_opener(_NoRedirects)
        return opener.open(request, timeout=self.timeout_s)

    def _failed(self, reason: str) -> UserError:
        return UserError(
            f"The model {self.model!r} at {self.url} cannot be measured: {reason}; mend that and "
            "measure again."
        )

    def _harmless(self, text: str) -> str:
        return text.replace(self.key, "[key]") if self.key else text


def parse(text: str) -> Iterator[Sample]:
    """Yield the samples of a page in Prometheus' text format, those that are finite numbers."""
    for line in text.splitlines():
        found = _SAMPLE.match(line.strip())
        if not found:
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        if math.isfinite(value):
            yield Sample(found[1], dict(_LABEL.findall(found[2] or "")), value)
