"""Requests to the Hugging Face hub through its client, with the project's time-outs and waits.

The client itself retries in silence for minutes, has no time-out for lists of files, and asks for
things that no file needs. Here a hub that does not answer is an error at once; a hub that is busy
is asked again, after the wait that it asks for, with a line on the screen.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar

import httpx2
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.utils import parse_ratelimit_headers

from draftmark.data.hub.failures import Busy, NoAnswer, Repository, explain

MAX_WAIT_S = 60.0  # together, for a hub that is busy
MAX_TRIES = 4
GRACE_S = 60.0
SLOWEST = 4_000  # bytes a second, on average after the time of grace
MAX_LIST_BYTES = 64 << 20  # of an answer that is not a file
# Settings of the client, for names that the environment does not set.
_SETTINGS = {
    "HF_HUB_DISABLE_XET": True,  # plain downloads honour proxies, resume, and stop at Ctrl-C
    "HF_HUB_DISABLE_TELEMETRY": True,  # it asks the hub for what no file needs
    "DOWNLOAD_CHUNK_SIZE": 2**18,  # bytes between two steps of the progress
}
_LOGGER = logging.getLogger("huggingface_hub")

Answer = TypeVar("Answer")


def ask(
    call: Callable[[], Answer], repository: Repository, revision: str, say: Callable[[str], None]
) -> Answer:
    """Return what a call of huggingface_hub returns; raises HubError with one sentence.

    A hub that is busy or closes a connection is asked again; each wait is printed by `say`.
    """
    waited = 0.0
    for tried in range(1, MAX_TRIES + 1):
        try:
            with _session():
                return call()
        except Exception as error:
            shown = explain(error, repository, revision)
            if shown is None:
                raise
            wait = _wait(error, tried)
            waited += wait or 0
            if wait is None or waited > MAX_WAIT_S or tried == MAX_TRIES:
                raise shown from error
            say(f"The hub is asked again in {wait:.0f} s: {_reason(error)}.")
            time.sleep(wait)
    raise AssertionError("unreachable")


def _reason(error: Exception) -> str:
    return f"status {error.status}" if isinstance(error, Busy) else "it closed the connection"


def _wait(error: Exception, tried: int) -> float | None:
    """Return the seconds until the next try; None if another would fail as well."""
    if isinstance(error, Busy) and error.wait_s is not None:
        return error.wait_s
    # A connection that closes within a file is resumed by the client itself, some times.
    cause = error.__cause__ if isinstance(error, NoAnswer) else None
    closed = isinstance(cause, httpx2.RemoteProtocolError | httpx2.ReadError)
    passing = closed or isinstance(error, Busy | httpx2.ReadError)
    return 2.0 ** (tried - 1) if passing else None


@contextmanager
def _session() -> Iterator[None]:
    """Let the client send its requests as `_send` does while the block runs, in this thread."""
    session, level = huggingface_hub.get_session(), _LOGGER.level
    before = {name: getattr(constants, name) for name in _SETTINGS}
    for name, value in _SETTINGS.items():
        if name not in os.environ:
            setattr(constants, name, value)
    session.send = partial(_send, session.send)
    _LOGGER.setLevel(logging.ERROR)  # each failure is printed once, as one sentence
    try:
        yield
    finally:
        del session.send
        for name, value in before.items():
            setattr(constants, name, value)
        _LOGGER.setLevel(level)


def _send(plain: Callable[..., Any], request: Any, *, stream: bool = False, **options: Any) -> Any:
    """Send a request with a time-out; raises Busy and NoAnswer, which the client does not retry."""
    limits = request.extensions["timeout"]  # seconds by kind; lists of files have none
    timeout = {kind: s or constants.HF_HUB_DOWNLOAD_TIMEOUT for kind, s in limits.items()}
    request.extensions = {**request.extensions, "timeout": timeout}
    try:
        response = plain(request, stream=True, **options)
        response.stream = _Paced(response.stream, None if stream else MAX_LIST_BYTES)
        if not stream:
            response.read()
    except httpx2.RequestError as error:
        if "Range" in request.headers:
            raise  # the client resumes a file several times
        raise NoAnswer(str(error)) from error
    status = response.status_code
    if status in (408, 429) or status >= 500:
        response.close()
        raise Busy(status, _asked_wait(response.headers))
    return response


class _Paced(httpx2.SyncByteStream):
    """The body of an answer; raises NoAnswer if it comes too slowly, or has too many bytes.

    A time-out starts anew with each packet, so without this a hub that sends a byte now and then
    would never be given up.
    """

    def __init__(self, plain: Any, most_bytes: int | None) -> None:
        self._plain, self._most_bytes = plain, most_bytes

    def __iter__(self) -> Iterator[bytes]:
        started, got = time.monotonic(), 0
        for packet in self._plain:
            got += len(packet)
            if time.monotonic() - started > GRACE_S + got / SLOWEST:
                raise NoAnswer(f"it sends fewer than {SLOWEST:,} bytes a second")
            if self._most_bytes is not None and got > self._most_bytes:
                raise NoAnswer(f"its list has more than {self._most_bytes:,} bytes")
            yield packet

    def close(self) -> None:
        self._plain.close()


def _asked_wait(headers: Any) -> float | None:
    """Return the wait in seconds that the headers of an answer ask for, or None."""
    if (limit := parse_ratelimit_headers(headers)) and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
