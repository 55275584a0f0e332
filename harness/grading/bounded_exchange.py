"""One exchange with an HTTP server under one deadline and a bound on its bytes.

A socket's own timeout starts anew with each packet, so a server that sends a byte now and then
holds a client for ever. Here each read waits for what is left of the deadline, from the connection
to the last byte, headers included.
"""

import http.client
import io
import socket
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

MAX_BYTES = 2**26  # of a whole answer, headers included
MAX_LINE = 2**20  # bytes of one line of a stream


class TooLong(OSError):
    """A server sends more than an exchange may hold."""


@dataclass
class Exchange:
    """What is left of an exchange: its time and its bytes."""

    timeout_s: float
    bytes_left: int = MAX_BYTES
    _started: float = field(default_factory=monotonic)

    def seconds_left(self) -> float:
        """Return the seconds left; raises TimeoutError when the deadline has passed."""
        left = self._started + self.timeout_s - monotonic()
        if left <= 0:
            raise TimeoutError(f"it did not finish within {self.timeout_s:g} s")
        return left

    def spend(self, num_bytes: int) -> None:
        """Count bytes that the server sent; raises TooLong if they are too many."""
        self.bytes_left -= num_bytes
        if self.bytes_left < 0:
            raise TooLong(f"it sent more than {MAX_BYTES // 2**20} MiB")


def open_url(request: urllib.request.Request, timeout_s: float) -> Any:
    """Return the answer to a request, all of whose reads share one deadline; follow no redirect.

    Environment variables name a proxy, as for urllib. Raises OSError and HTTPException, as urllib.
    """
    exchange = Exchange(timeout_s)
    opener = urllib.request.build_opener(_NoRedirects, _Http(exchange), _Https(exchange))
    return opener.open(request, timeout=timeout_s)


def read_whole(answer: http.client.HTTPResponse) -> bytes:
    """Return an answer; raises IncompleteRead if the server stopped before its end."""
    # In pieces: a length of 10**15 in the headers must not be allocated.
    data = b"".join(iter(partial(answer.read, 2**16), b""))
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return data


def read_lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the lines of an answer as they arrive; raises TooLong for a longer one."""
    while line := answer.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise TooLong(f"it sent a line of more than {MAX_LINE // 2**20} MiB")
        yield line


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Refuse a redirect: urllib then raises HTTPError with its status."""


class _Http(urllib.request.HTTPHandler):
    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._connection: Callable[..., Any] = partial(
            _connect, http.client.HTTPConnection, exchange
        )

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._connection: Callable[..., Any] = partial(
            _connect, http.client.HTTPSConnection, exchange
        )

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)


def _connect(
    kind: type[http.client.HTTPConnection], exchange: Exchange, host: str, **options: Any
) -> Any:
    """Return a connection whose answers are read within an exchange."""
    connection: Any = kind(host, **options)
    connection.response_class = lambda sock, **facts: http.client.HTTPResponse(
        _BoundedSocket(sock, exchange),  # type: ignore[arg-type]
        **facts,
    )
    return connection


@dataclass(frozen=True)
class _BoundedSocket:
    """The part of a socket that an HTTP response uses."""

    sock: socket.socket
    exchange: Exchange

    def makefile(self, _: str) -> io.BufferedReader:
        raw = self.sock.makefile("rb", buffering=0)
        return io.BufferedReader(_BoundedReader(self.sock, raw, self.exchange))


class _BoundedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, raw: Any, exchange: Exchange) -> None:
        self._sock, self._raw, self._exchange = sock, raw, exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._exchange.seconds_left())
        try:
            count = int(self._raw.readinto(buffer) or 0)
        except TimeoutError:
            self._exchange.seconds_left()
            raise
        self._exchange.spend(count)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
