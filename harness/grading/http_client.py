"""Requests to OpenAI-compatible servers; the key is sent to the server and goes nowhere else.

No message, file, log or representation holds the key: it is removed from what the server sends.
Redirects, which would carry it elsewhere, are refused.
"""

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from draftmark.errors import UserError
from draftmark.grading.bounded_exchange import TooLong, open_url, read_lines, read_whole

_SHOWN = 200  # characters of an answer in a message
_ERROR_BYTES = 2**16  # of the answer to a failed request
_TEMPORARY = frozenset({None, 408, 429, 500, 502, 503, 504})


def read_key(variable: str, whose: str) -> str:
    """Return the key in an environment variable; "" if no variable is named.

    Raises UserError, which does not repeat the value, if the variable is unset or holds no key.
    """
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not key:
        raise UserError(
            f"The {whose}'s key is read from the environment variable {variable}, which is not "
            "set; set it, or name no variable for an endpoint that needs no key."
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UserError(f"{variable} does not hold a key: it contains spaces or non-ASCII signs.")
    return key


class RequestFailed(Exception):
    """A request without a usable answer; the message is the reason and holds no key."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        """`status` is that of the server's answer, None if the server did not answer."""
        super().__init__(reason)
        self.status = status

    @property
    def is_temporary(self) -> bool:
        """True if the same request may succeed in a moment."""
        return self.status in _TEMPORARY


def not_a_completion(answer: str) -> RequestFailed:
    """Return the failure of a server whose answer is not a chat completion."""
    return RequestFailed(f"its answer is not a chat completion, {answer[:_SHOWN]!r}", 200)


@dataclass(frozen=True)
class HttpClient:
    """A server at a base URL, such as http://127.0.0.1:8000/v1.

    Raises UserError for a URL that may hold a secret, without repeating the URL. Requests go to
    `path` below the base URL, or below the host if it starts with "/"; they are GET without `body`,
    else POST with `body` as JSON. They raise RequestFailed. `timeout_s` is the deadline of a whole
    request, from the connection to the last byte of the answer.
    """

    url: str
    key: str = field(default="", repr=False)
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        """Check the URL."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError('The endpoint must be a URL such as "http://127.0.0.1:8000/v1".')
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UserError(
                "The endpoint must be a URL without user, password, query or fragment; name the "
                "environment variable that holds a key instead."
            )

    def read(self, path: str, body: Mapping[str, Any] | None = None) -> str:
        """Return the text of an answer."""
        with self._open(path, body) as answer:
            return self._decode(read_whole(answer))

    def events(self, path: str, body: Mapping[str, Any]) -> Iterator[str]:
        """Yield the data of a stream of server-sent events, as they arrive."""
        with self._open(path, body) as answer:
            for line in read_lines(answer):
                name, _, value = self._decode(line).strip().partition(":")
                if name == "data" and value.strip() == "[DONE]":
                    return
                if name == "data":
                    yield value.strip()

    @contextmanager
    def _open(self, path: str, body: Mapping[str, Any] | None) -> Iterator[Any]:
        request = urllib.request.Request(
            urljoin(f"{self.url.rstrip('/')}/", path),
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "draftmark"},
        )
        if self.key:
            request.add_unredirected_header("Authorization", f"Bearer {self.key}")
        try:
            with open_url(request, self.timeout_s) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            with error:
                text = self._decode(_read_some(error))
            raise RequestFailed(f"status {error.code}, {text[:_SHOWN]!r}", error.code) from None
        except TooLong as error:
            raise RequestFailed(str(error), 200) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            raise RequestFailed(self._without_key(reason)) from None

    def _decode(self, data: bytes) -> str:
        return self._without_key(data.decode("utf-8", "replace"))

    def _without_key(self, text: str) -> str:
        return text.replace(self.key, "[key]") if self.key else text


def _read_some(error: urllib.error.HTTPError) -> bytes:
    """Return the start of the answer to a failed request, as far as the server sends it."""
    try:
        return error.read(_ERROR_BYTES)
    except (OSError, http.client.HTTPException):
        return b""
