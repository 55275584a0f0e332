"""A run that can be followed, and stopped."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from harness.graph import Node
from harness.scheduling.journal import Journal
from harness.scheduling.stopping import Stop, Stopped
from harness.store import Store


@contextmanager
def watched(
    store: Store, run: str, title: str, nodes: Iterable[Node]
) -> Iterator[tuple[Journal, Stop]]:
    """Give what the block tells its progress to and hears Ctrl-C by.

    Raises Stopped if it was, at once or when what ran was done.
    """
    journal = Journal.open(store, run)
    journal.tell_run(title, nodes, store)
    stop = Stop(journal.folder)
    with journal.alive():
        try:
            with stop.listening():
                yield journal, stop
        except KeyboardInterrupt:
            raise Stopped from None
