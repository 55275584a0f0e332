"""When each stage of a graph would run, and where: list scheduling, simulated.

Whenever GPUs are free, the ready stage starts that the longest chain of stages waits for (Graham
1969, SIAM J. Appl. Math. 17, 416; by length of the chain: Hu 1961). Such a schedule lasts at least
as long as the longest chain and as all work shared equally, and at most as both together.
"""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """A stage to be scheduled: how long it takes, on how many GPUs, after which others."""

    seconds: float
    gpus: int = 1  # none: it runs on processors, of which there are always enough
    inputs: tuple[str, ...] = ()

    @property
    def gpu_s(self) -> float:
        """The GPU-seconds that it takes."""
        return self.seconds * self.gpus


@dataclass(frozen=True)
class Slot:
    """When a stage runs, and on which GPUs."""

    start: float
    end: float
    gpus: tuple[int, ...]


@dataclass(frozen=True)
class Schedule:
    """When and where every stage runs on some GPUs."""

    gpus: int
    slots: Mapping[str, Slot]

    @property
    def makespan(self) -> float:
        """The seconds from the first start to the last end."""
        return max((slot.end for slot in self.slots.values()), default=0.0)

    @property
    def efficiency(self) -> float:
        """The share of the GPUs' time that is used; 1 where none is needed."""
        used = sum((slot.end - slot.start) * len(slot.gpus) for slot in self.slots.values())
        return used / (self.gpus * self.makespan) if self.makespan else 1.0


def ranks(works: Mapping[str, Work]) -> dict[str, float]:
    """Return how many seconds pass from the start of each work to the end of its longest chain.

    Works come after their inputs; an input that is none of them is there already.
    """
    after = dict.fromkeys(works, 0.0)
    for key in reversed(list(works)):
        rank = after[key] + works[key].seconds
        for upstream in works[key].inputs:
            if upstream in after:
                after[upstream] = max(after[upstream], rank)
    return {key: after[key] + work.seconds for key, work in works.items()}


def critical_path(works: Mapping[str, Work]) -> list[str]:
    """Return the longest chain of works, first to last: no number of GPUs is faster."""
    rank, path = ranks(works), list[str]()
    heads = [key for key, work in works.items() if not any(up in works for up in work.inputs)]
    while heads:
        path.append(max(heads, key=lambda key: rank[key]))
        heads = [key for key, work in works.items() if path[-1] in work.inputs]
    return path


def simulate(works: Mapping[str, Work], gpus: int) -> Schedule:
    """Return the schedule of works on GPUs; raises ValueError if one needs more than there are."""
    if any(work.gpus > gpus for work in works.values()):
        raise ValueError(f"a work needs {max(w.gpus for w in works.values())} GPUs, of {gpus}")
    rank = ranks(works)
    children: dict[str, list[str]] = {key: [] for key in works}
    missing: dict[str, int] = {}
    for key, work in works.items():
        known = [upstream for upstream in work.inputs if upstream in works]
        missing[key] = len(known)
        for upstream in known:
            children[upstream].append(key)
    ready = [(-rank[key], key) for key, count in missing.items() if not count]
    heapq.heapify(ready)
    free, slots, ends = list(range(gpus)), dict[str, Slot](), list[tuple[float, str]]()
    now = 0.0
    while ready or ends:
        for key in _fitting(ready, works, free):
            taken = tuple(heapq.heappop(free) for _ in range(works[key].gpus))
            slots[key] = Slot(now, now + works[key].seconds, taken)
            heapq.heappush(ends, (slots[key].end, key))
        now, over = heapq.heappop(ends)
        for gpu in slots[over].gpus:
            heapq.heappush(free, gpu)
        for child in children[over]:
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(ready, (-rank[child], child))
    return Schedule(gpus, slots)


def _fitting(
    ready: list[tuple[float, str]], works: Mapping[str, Work], free: list[int]
) -> Iterator[str]:
    """Take out of `ready`, the most urgent first, what the free GPUs are enough for."""
    waiting = []
    while ready:
        item = heapq.heappop(ready)
        if works[item[1]].gpus <= len(free):
            yield item[1]
        else:
            waiting.append(item)
        if not free and len(waiting) > 0:
            break
    for item in waiting:
        heapq.heappush(ready, item)
