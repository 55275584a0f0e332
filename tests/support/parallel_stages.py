"""Stages for tests of executors with processes: each notes where and when it ran."""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from draftmark.store.graph import Job, Node
from draftmark.store.store import Store

WAITS_S = 60.0  # how long a stage waits for another one


def stage(
    name: str,
    act: Callable[[Job], object] | None = None,
    inputs: Mapping[str, Node] | None = None,
) -> Node:
    """Return a stage that acts, then writes its inputs' texts and its own name."""

    def build(job: Job) -> None:
        began = time.monotonic()
        if act:
            act(job)
        read = "".join((job.inputs[key] / "text").read_text() for key in sorted(job.inputs))
        (job.out / "text").write_text(f"{read}{name}")
        ran = {"pid": os.getpid(), "began": began, "ended": time.monotonic()}
        (job.out / "ran.json").write_text(json.dumps(ran))

    return Node("stage", name, {"name": name}, inputs or {}, code=(), build=build)


@dataclass(frozen=True)
class Ran:
    """Where and when a stage ran; clocks are the machine's."""

    pid: int
    began: float
    ended: float

    def overlaps(self, other: "Ran") -> bool:
        """True if both stages ran at the same time."""
        return self.began < other.ended and other.began < self.ended


def ran(store: Store, node: Node) -> Ran:
    """Return where and when a stage ran."""
    return Ran(**json.loads((store.load(node).directory / "ran.json").read_text()))


def sleep(seconds: float) -> Callable[[Job], object]:
    """Return an act that sleeps."""
    return lambda job: time.sleep(seconds)


def fail(error: Exception) -> Callable[[Job], object]:
    """Return an act that raises an error."""

    def act(job: Job) -> None:
        raise error

    return act


def meet(folder: Path, name: str, other: str) -> Callable[[Job], object]:
    """Return an act that ends once the stage `other` has begun as well."""

    def act(job: Job) -> None:
        (folder / name).touch()
        deadline = time.monotonic() + WAITS_S
        while not (folder / other).exists():
            assert time.monotonic() < deadline, f"{other} did not begin"
            time.sleep(0.01)

    return act


def die(folder: Path, times: int) -> Callable[[Job], object]:
    """Return an act that kills its own process so many times."""

    def act(job: Job) -> None:
        deaths = len(list(folder.glob("death*")))
        if deaths < times:
            (folder / f"death{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return act
