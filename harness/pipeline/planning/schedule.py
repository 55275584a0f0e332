"""When and on which GPUs the stages of a graph run: list scheduling, simulated.

Whenever GPUs are free, the ready stage with the longest chain of dependent stages starts (Graham
1969, SIAM J. Appl. Math. 17, 416; by length of the chain: Hu 1961). Such a schedule lasts at most
the sum of two lower bounds: the longest chain, and the total work divided by the GPUs.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import accumulate

from draftmark.errors import UserError
from draftmark.pipeline.planning.estimates import Cost, format_seconds
from draftmark.store.graph import Node

StageCosts = Sequence[tuple[Node, Cost]]  # of the stages to do, inputs first

ASSUMED = (
    "- On several GPUs: a stage that holds a model takes training.processes GPUs and runs that "
    "many times faster. A target that is spread over GPUs is on all of them, and its layers run in "
    "turn: no faster than on one. The other stages run on processors. Their time, and the time to "
    "load models, read the store and start stages, is not counted."
)


@dataclass(frozen=True)
class StageRun:
    """A stage to schedule: its seconds, its GPUs, the keys of its inputs."""

    seconds: float
    gpus: int = 1  # 0: the stage runs on processors, of which there are always enough
    inputs: tuple[str, ...] = ()

    @property
    def gpu_s(self) -> float:
        """GPU-seconds."""
        return self.seconds * self.gpus


@dataclass(frozen=True)
class Slot:
    """The start and end of a stage in seconds, and the GPUs that it runs on."""

    start: float
    end: float
    gpus: tuple[int, ...]


@dataclass(frozen=True)
class Schedule:
    """The slot of every stage, by key, on a number of GPUs."""

    gpus: int
    slots: Mapping[str, Slot]

    @property
    def makespan(self) -> float:
        """The seconds from the first start to the last end."""
        return max((slot.end for slot in self.slots.values()), default=0.0)

    @property
    def efficiency(self) -> float:
        """The share of GPU time in use; 1 for an empty schedule."""
        used = sum((slot.end - slot.start) * len(slot.gpus) for slot in self.slots.values())
        return used / (self.gpus * self.makespan) if self.makespan else 1.0

    @property
    def busiest(self) -> int:
        """The most stages that run at once."""
        starts = [(slot.start, 1) for slot in self.slots.values() if slot.end > slot.start]
        ends = [(slot.end, -1) for slot in self.slots.values() if slot.end > slot.start]
        changes = [change for _, change in sorted([*starts, *ends])]  # ends before starts
        return max(accumulate(changes), default=0)


def longest_chain_s(runs: Mapping[str, StageRun]) -> dict[str, float]:
    """Return the seconds from the start of each stage to the end of its longest chain, by key.

    Stages come after their inputs. Inputs that are not among the stages count as finished.
    """
    after = dict.fromkeys(runs, 0.0)
    for key in reversed(list(runs)):
        chain_s = after[key] + runs[key].seconds
        for upstream in runs[key].inputs:
            if upstream in after:
                after[upstream] = max(after[upstream], chain_s)
    return {key: after[key] + run.seconds for key, run in runs.items()}


def critical_path(runs: Mapping[str, StageRun]) -> list[str]:
    """Return the keys of the longest chain, first to last: a lower bound for any number of GPUs."""
    chain_s, path = longest_chain_s(runs), list[str]()
    heads = [key for key, run in runs.items() if not any(up in runs for up in run.inputs)]
    while heads:
        path.append(max(heads, key=lambda key: chain_s[key]))
        heads = [key for key, run in runs.items() if path[-1] in run.inputs]
    return path


def simulate_schedule(runs: Mapping[str, StageRun], gpus: int) -> Schedule:
    """Return the schedule on `gpus` GPUs; raises ValueError if a stage needs more."""
    if any(run.gpus > gpus for run in runs.values()):
        raise ValueError(f"a stage needs {max(w.gpus for w in runs.values())} GPUs of {gpus}")
    chain_s = longest_chain_s(runs)
    graph = TopologicalSorter(
        {key: [up for up in run.inputs if up in runs] for key, run in runs.items()}
    )
    graph.prepare()
    free, ready, ends = list(range(gpus)), list[tuple[float, str]](), list[tuple[float, str]]()
    slots, now = dict[str, Slot](), 0.0
    while graph.is_active():
        for key in graph.get_ready():
            heapq.heappush(ready, (-chain_s[key], key))
        for key in _pop_fitting(ready, runs, free):
            taken = tuple(heapq.heappop(free) for _ in range(runs[key].gpus))
            slots[key] = Slot(now, now + runs[key].seconds, taken)
            heapq.heappush(ends, (slots[key].end, key))
        now, ended = heapq.heappop(ends)
        for gpu in slots[ended].gpus:
            heapq.heappush(free, gpu)
        graph.done(ended)
    return Schedule(gpus, slots)


def _pop_fitting(
    ready: list[tuple[float, str]], runs: Mapping[str, StageRun], free: list[int]
) -> Iterator[str]:
    """Pop from `ready`, longest chain first, each stage that fits on the free GPUs."""
    waiting = []
    while ready:
        item = heapq.heappop(ready)
        if runs[item[1]].gpus <= len(free):
            yield item[1]
        else:
            waiting.append(item)
        if not free and waiting:
            break
    for item in waiting:
        heapq.heappush(ready, item)


def stage_runs(costs: StageCosts, gpus: int) -> dict[str, StageRun]:
    """Return the stages to schedule by key, inputs first.

    A spread target takes at most `gpus` GPUs: the rest of it is in the processor's memory.
    """
    return {
        node.key: StageRun(
            cost.gpu_s / node.processes,
            max(node.processes, min(cost.gpus, gpus)) if cost.gpu_s else 0,
            tuple(upstream.key for upstream in node.inputs.values()),
        )
        for node, cost in costs
    }


def schedule_stages(costs: StageCosts, gpus: int) -> Schedule:
    """Return the schedule on `gpus` GPUs; raises UserError if a stage needs more."""
    for node, _ in costs:
        if node.processes > gpus:
            raise UserError(
                f"{node.label}: training.processes = {node.processes} needs as many GPUs, but "
                f"--gpus is {gpus}; raise --gpus or lower training.processes."
            )
    return simulate_schedule(stage_runs(costs, gpus), gpus)


def stage_placements(costs: StageCosts, gpus: int) -> dict[str, str]:
    """Return in words where and from when each stage runs, by key."""
    slots = schedule_stages(costs, gpus).slots
    where = dict.fromkeys(slots, "processor")
    for key, slot in slots.items():
        if slot.gpus:
            names = f"GPU{'s' * (len(slot.gpus) > 1)} {', '.join(map(str, sorted(slot.gpus)))}"
            where[key] = f"{names} from {format_seconds(slot.start)}"
    return where


def forecast_lines(costs: StageCosts, gpus: int, gpu: str) -> Iterator[str]:
    """Yield in words the GPU time per stage, the time of the schedule, and the longest chain."""
    runs, schedule = stage_runs(costs, gpus), schedule_stages(costs, gpus)
    if not schedule.makespan:
        return
    by_stage: dict[str, float] = {}
    for node, _ in costs:
        by_stage[node.stage] = by_stage.get(node.stage, 0.0) + runs[node.key].gpu_s
    total = sum(by_stage.values())
    times = [f"{stage} {format_seconds(s)}" for stage, s in by_stage.items() if s]
    yield f"Time on one {gpu} by stage: {', '.join(times)}, total {format_seconds(total)}."
    path = [key for key in critical_path(runs) if runs[key].seconds]
    chain = sum(runs[key].seconds for key in path)
    yield (
        f"With --gpus {gpus}: {format_seconds(schedule.makespan)}, "
        f"{schedule.efficiency:.0%} of GPU time in use (simulated). No schedule is shorter than "
        f"{format_seconds(max(total / gpus, chain))}."
    )
    labels = {node.key: f"{node.stage}: {node.label}" for node, _ in costs}
    links = [f"{labels[key]} ({format_seconds(runs[key].seconds)})" for key in path]
    yield f"Longest chain of stages, {format_seconds(chain)}: {'; then '.join(links)}."
