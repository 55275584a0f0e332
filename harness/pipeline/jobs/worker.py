"""A worker: a process that makes one stage's result after another, and so loads torch once.

Keys of stages come in on a connection; progress and outcomes go out. When the connection closes,
because the run ended or its process died, the worker leaves its stage and exits.
"""

import os
import pickle
import signal
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import FrameType
from typing import Any, NoReturn

from draftmark.pipeline.jobs.shown import SentProgress
from draftmark.pipeline.stage_worker import WorkerContext, make_on_worker
from draftmark.store.store import Store

OUTCOME = "outcome"  # the message that ends a stage
_LEAVES_S = 2.0  # the time that a stage has to remove its temporary files

Keys = SimpleQueue[str | None]


def main(descriptor: int) -> None:
    """Make stages until the connection closes; the context is read from standard input."""
    os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGINT, lambda *_: None)  # the run's process decides what Ctrl-C stops
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, _leave)
    context = _read_context()
    connection, keys = Connection(descriptor), Keys()
    threading.Thread(target=_receive, args=(connection, keys), daemon=True).start()
    send = partial(_send, connection)
    store, progress = Store(context.root), SentProgress(send)
    while (key := keys.get()) is not None:
        send((OUTCOME, make_on_worker(key, context, store, progress)))


def _read_context() -> WorkerContext:
    """Return the context in standard input, a file whose position all workers share."""
    descriptor = sys.stdin.fileno()
    context: WorkerContext = pickle.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    with open(os.devnull) as nothing:  # noqa: PTH123 (stages read nothing)
        os.dup2(nothing.fileno(), descriptor)
    return context


def _send(connection: "Connection[Any, Any]", message: tuple[Any, ...]) -> None:
    try:
        connection.send(message)
    except OSError:  # nobody listens any more; no failure of the stage
        raise SystemExit(1) from None


def _receive(connection: "Connection[Any, Any]", keys: Keys) -> None:
    """Pass keys on; when the connection closes, end this process, whatever its stage does."""
    try:
        while True:
            keys.put(connection.recv())
    except (EOFError, OSError):
        keys.put(None)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        time.sleep(_LEAVES_S)
        os._exit(1)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
