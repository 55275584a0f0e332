"""How many stages of a run are made at once on this machine, and how long the run will take."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

from draftmark.environment import machine_facts
from draftmark.errors import UserError
from draftmark.pipeline.experiment import Plan
from draftmark.pipeline.planning.estimates import THREAD, Gpu, format_seconds
from draftmark.pipeline.planning.needs import Needs, needs_without_costs, stage_needs
from draftmark.pipeline.planning.schedule import Schedule, StageRun, simulate_schedule
from draftmark.store.graph import Node
from draftmark.store.store import Store
from draftmark.text import counted

# More processes than one pay if they save this time: each one loads torch, which takes 3 s.
WORTH_S = 10.0
_STAGE_S = 0.1  # the least time of a stage: to read its inputs, hash and store its result
_CONTROL_GROUP = Path("/sys/fs/cgroup")  # the limits of a container, by control groups version 2


@dataclass(frozen=True)
class JobPlan:
    """The number of processes for the stages to do, and the estimate behind it."""

    jobs: int
    stages: int  # to do
    needs: Mapping[str, Needs]  # of every stage by node key
    memory_bytes: float  # that stages may take together
    seconds: float | None = None  # with so many processes; None if it cannot be estimated
    serial_s: float = 0.0  # with one
    stage_s: Mapping[str, float] = field(default_factory=dict)  # of each stage to do, by node key

    def describe(self) -> str:
        """Return in words how many stages run at once and how long the run will take."""
        beside = f", {self.jobs} at once (--jobs)" if self.jobs > 1 else ""
        if self.seconds is None:
            return f"{counted(self.stages, 'stage')} to do{beside}."
        took = f"about {format_seconds(self.seconds)} on this machine"
        alone = f", {format_seconds(self.serial_s)} with --jobs 1" if self.jobs > 1 else ""
        return f"{counted(self.stages, 'stage')} to do{beside}: {took}{alone}, by a rough estimate."


def plan_jobs(plan: Plan, store: Store, jobs: int | None = None) -> JobPlan:
    """Return the plan for `jobs` processes; by default as many as this machine can use.

    The default is one on a machine with a GPU, whose memory the stages would share. Elsewhere it is
    limited by the cores over a stage's threads, by the memory, and by the stages that do not wait
    for each other. It is one for models of unknown shape.
    """
    unmade = store.missing(plan.nodes)
    threads = plan.recipe.threads or _default_threads()
    try:
        needs = stage_needs(plan, on_threads(threads))
    except (UserError, KeyError, TypeError):
        needs = needs_without_costs(unmade.values())
        return JobPlan(jobs or 1, len(unmade), needs, available_memory())
    runs = {key: stage_run(node, needs[key]) for key, node in unmade.items()}
    memory_bytes = available_memory()
    on_gpu = bool(machine_facts()["accelerators"])
    most = 1 if on_gpu else max(1, available_cores() // threads)
    most = min(most, most_in_memory([needs[key].memory_bytes for key in unmade], memory_bytes))
    count = min(jobs, len(unmade)) if jobs else default_jobs(runs, most)
    planned = JobPlan(count, len(unmade), needs, memory_bytes)
    if on_gpu:
        return planned
    stage_s = {key: run.seconds for key, run in runs.items()}
    seconds, serial_s = (schedule_on(runs, slots).makespan for slots in (count, 1))
    return replace(planned, seconds=seconds, serial_s=serial_s, stage_s=stage_s)


def on_threads(threads: int) -> Gpu:
    """Return a number of this processor's threads, as the device of an estimate."""
    flops = {dtype: rate * threads for dtype, rate in THREAD.flops.items()}
    return replace(THREAD, flops=flops)


def stage_run(node: Node, needs: Needs) -> StageRun:
    """Return a stage as one to schedule; 0 processes stand for all: it takes times."""
    inputs = tuple(upstream.key for upstream in node.inputs.values())
    return StageRun(needs.seconds + _STAGE_S, 0 if needs.alone else node.processes, inputs)


def schedule_on(runs: Mapping[str, StageRun], jobs: int) -> Schedule:
    """Return the simulated schedule of stages on a number of processes."""
    limited = {
        key: replace(run, gpus=min(run.gpus, jobs) if run.gpus else jobs)
        for key, run in runs.items()
    }
    return simulate_schedule(limited, jobs)


def default_jobs(runs: Mapping[str, StageRun], most: int) -> int:
    """Return the number of processes that stages keep busy, at most `most`; 1 if it pays little."""
    if most == 1 or not runs:
        return 1
    schedule = schedule_on(runs, most)
    saved_s = schedule_on(runs, 1).makespan - schedule.makespan
    return schedule.busiest if saved_s > WORTH_S else 1


def most_in_memory(stages_bytes: list[int], memory_bytes: float) -> int:
    """Return how many stages fit into memory at once, the smallest first; at least 1."""
    with_model = sorted(filter(None, stages_bytes))
    if not with_model:
        return max(1, len(stages_bytes))
    return max(1, sum(total <= memory_bytes for total in accumulate(with_model)))


def available_cores() -> int:
    """Return the number of cores that this process may use: by its affinity and its container."""
    cores: int = machine_facts()["cores"]
    limit = _limit("cpu.max").split()
    if len(limit) == 2 and limit[0].isdecimal():
        cores = min(cores, max(1, int(limit[0]) // int(limit[1])))
    return cores


def available_memory() -> float:
    """Return the bytes of memory that are free, on the machine and in this process's container."""
    import psutil

    free = float(psutil.virtual_memory().available)
    limit, used = _limit("memory.max"), _limit("memory.current")
    if limit.isdecimal() and used.isdecimal():
        free = min(free, float(limit) - float(used))
    return free


def _limit(name: str) -> str:
    path = _CONTROL_GROUP / name
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _default_threads() -> int:
    """Return the threads that torch takes by default."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(given)) if given.isdecimal() else int(machine_facts()["cores"])
