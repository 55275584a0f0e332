"""A limit of time that ends a hang as a failure, such as a read from a FIFO."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

LIMIT_S = 20.0


class Hang(BaseException):
    """A block that took too long; not an Exception, so that no command handles it."""


@contextmanager
def no_hang(limit_s: float = LIMIT_S) -> Iterator[None]:
    """Raise Hang in the block after `limit_s`; in the main thread only."""

    def stop(*_: object) -> None:
        raise Hang(f"not finished after {limit_s:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
