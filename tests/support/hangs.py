"""Limits of time that end a hang as a failure: a loop without end, or a read from a FIFO."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

LIMIT_S = 20.0  # of this process's processor time
WAITS = 6  # so many times longer by the clock, for a machine that is busy


class Hang(BaseException):
    """A block that took too long; not an Exception, so that no command handles it."""


@contextmanager
def no_hang(limit_s: float = LIMIT_S) -> Iterator[None]:
    """Raise Hang in the block after `limit_s` of work, or WAITS times that by the clock.

    In the main thread only.
    """

    def stop(*_: object) -> None:
        raise Hang(f"not finished after {limit_s:g} s")

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, limit_s),
        signal.SIGALRM: (signal.ITIMER_REAL, WAITS * limit_s),
    }
    before = {number: signal.signal(number, stop) for number in timers}
    try:
        for timer, seconds in timers.values():
            signal.setitimer(timer, seconds)
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
