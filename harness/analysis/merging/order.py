"""One order of names that several runs order each for itself, whichever run comes first."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

Name = TypeVar("Name", bound=Any)  # names of a kind that has an order


def joint_order(sequences: Iterable[Sequence[Name]]) -> list[Name]:
    """Return every name once, each behind those that stand before it in a sequence.

    Names that no sequence orders, or that sequences order differently, are sorted.
    """
    before: dict[Name, set[Name]] = {}
    for names in sequences:
        for place, name in enumerate(names):
            before.setdefault(name, set()).update(set(names[:place]) - {name})
    found: list[Name] = []
    while before:
        free = [name for name, earlier in before.items() if not earlier]
        first = min(free or before)
        found.append(first)
        del before[first]
        for earlier in before.values():
            earlier.discard(first)
    return found
