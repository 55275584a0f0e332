"""The status of a run, from its journal and the store: while it runs and afterwards."""

import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from draftmark.errors import UserError
from draftmark.pipeline.journal import HEARTBEAT_S
from draftmark.pipeline.planning.estimates import format_seconds
from draftmark.pipeline.planning.needs import TIMED
from draftmark.pipeline.planning.schedule import StageRun, simulate_schedule
from draftmark.pipeline.stopping import FLAG
from draftmark.store.entries import ENTRY, stored_facts
from draftmark.store.journals import ALIVE, attempts, is_locked
from draftmark.store.plain_files import read_plain
from draftmark.store.reading import adapter
from draftmark.text import counted

SILENT_S = 12 * HEARTBEAT_S  # a run on another machine is dead if ALIVE is older
_LATEST = 1e11  # seconds since 1970, in the year 5138
_SHOWN = 20  # the most stages of one state that are listed

Event = Mapping[str, Any]


@dataclass(frozen=True)
class StageStatus:
    """One stage of a run and its state."""

    stage: str
    label: str
    inputs: tuple[str, ...]
    state: str = "to do"  # cached, done, running, failed, refused
    since: float = 0.0  # when a running stage began
    seconds: float = 0.0  # how long a done or cached stage took
    note: str = ""  # the step and host of a running stage; why a stage failed or was refused


@dataclass(frozen=True)
class RunStatus:
    """The state of a run at the time `at`."""

    run: str
    title: str
    began: float
    at: float
    end: str | None  # why the run ended: "" if it finished, None while it runs
    stopping: bool = False
    stages: Mapping[str, StageStatus] = field(default_factory=dict)
    jobs: int = 1  # the stages that one machine makes at once

    def in_state(self, state: str) -> list[StageStatus]:
        """Return the stages in a state of `StageStatus`."""
        return [stage for stage in self.stages.values() if stage.state == state]


def run_status(store: Path, run: str, now: float | None = None) -> RunStatus:
    """Return the status of the latest attempt at a run; raises UserError for an unknown run."""
    tried = attempts(store, run)
    events = _events(tried[-1]) if tried else []
    first = next((event for event in events if event["event"] == "run"), None)
    if first is None:
        known = sorted({path.parent.name for path in attempts(store)})
        raise UserError(
            f"There is no run {run!r} in {store}; known: {', '.join(known) or 'none'}. "
            "Name the run's folder, or its store with --store."
        )
    now = now or time.time()
    end = next((event["reason"] for event in reversed(events) if event["event"] == "end"), None)
    if end is None and not _lives(first, tried[-1], now):
        end = "it died. Finished results are kept; run the same command to continue."
    by_key: dict[str, list[Event]] = {item["key"]: [] for item in first["stages"]}
    for event in events:
        by_key.get(event.get("key", ""), []).append(event)
    stages = {
        item["key"]: _stage(item, by_key[item["key"]], store, end is None)
        for item in first["stages"]
    }
    last = max(event["at"] for event in events)
    last = max(now, last) if end is None else last
    stopping = end is None and (tried[-1] / FLAG).exists()
    jobs = int(first.get("jobs", 1))
    return RunStatus(run, first["title"], first["at"], last, end, stopping, stages, jobs)


def latest_run(store: Path) -> str:
    """Return the name of the run that began last; raises UserError if there is none."""
    tried = attempts(store)
    if not tried:
        raise UserError(f"There is no run in {store}; name a run's folder, or --store.")
    return tried[-1].parent.name


class _StageFacts(BaseModel):
    """A stage in the first event of a run."""

    key: str
    stage: str
    label: str
    inputs: list[str]
    cached: bool


class _Event(BaseModel):
    """An event of a journal; which facts it has depends on its kind."""

    at: Annotated[float, Field(ge=0, lt=_LATEST)]
    event: str
    host: str = ""
    pid: Annotated[int, Field(ge=0, lt=2**31)] = 0
    key: str = ""
    reason: str = ""
    label: str = ""
    done: int = 0
    total: int = 0
    title: str = ""
    started: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    jobs: Annotated[int, Field(ge=1, lt=2**31)] = 1
    stages: list[_StageFacts] = []


def _events(folder: Path) -> list[Event]:
    """Return the events of an attempt in order, also of those written after the clock went back."""
    events: list[Event] = []
    for path in sorted(folder.glob("*.jsonl")):
        latest = 0.0
        for event in _events_of(path):
            latest = max(latest, float(event["at"]))
            events.append({**event, "at": latest})
    return sorted(events, key=lambda event: event["at"])


def _events_of(path: Path) -> Iterator[Event]:
    """Yield the events of one process; damaged lines are left out."""
    with suppress(OSError):
        for line in read_plain(path).splitlines():
            with suppress(ValidationError):  # the process was killed while it wrote its last line
                yield adapter(_Event).validate_json(line).model_dump()


def _lives(first: Event, folder: Path, now: float) -> bool:
    """True if a run's process is alive; on another machine, if it touched ALIVE recently."""
    import psutil

    if first["host"] == platform.node():
        try:
            began = float(psutil.Process(first["pid"]).create_time())
            return abs(began - float(first["started"])) < 1 or is_locked(folder)
        except psutil.Error:
            return False
    alive = folder / ALIVE
    return alive.exists() and now - alive.stat().st_mtime < SILENT_S


def _stage(
    item: Mapping[str, Any], events: Sequence[Event], store: Path, lives: bool
) -> StageStatus:
    """Return a stage with its state: done if the store has its result, whichever run made it."""
    stage = StageStatus(item["stage"], item["label"], tuple(item["inputs"]))
    seconds = _seconds(store / stage.stage / item["key"] / ENTRY)
    if seconds is not None:
        return replace(stage, state="cached" if item["cached"] else "done", seconds=seconds)
    if not events:
        return stage
    last = events[-1]
    if last["event"] in ("failed", "refused"):
        return replace(stage, state=last["event"], note=last["reason"])
    if not lives or last["event"] == "done":
        return stage
    since = next((e["at"] for e in reversed(events) if e["event"] == "start"), last["at"])
    step = f"{last['label']} {last['done']}/{last['total']}, " if last["event"] == "step" else ""
    return replace(stage, state="running", since=since, note=f"{step}{last['host']}")


def _seconds(entry: Path) -> float | None:
    """Return how long an entry took to make; None if it is missing or damaged."""
    facts = stored_facts(entry.parent)
    return facts[1] if facts else None


def seconds_left(now: RunStatus) -> float | None:
    """Return an estimate of the seconds left, from the mean time of the done stages of each kind.

    None if a kind of stage is still to do and none of that kind is done.
    """
    seconds: dict[str, list[float]] = {}
    for stage in [*now.in_state("done"), *now.in_state("cached")]:
        seconds.setdefault(stage.stage, []).append(stage.seconds)
    left = {k: s for k, s in now.stages.items() if s.state in ("to do", "running")}
    if any(stage.stage not in seconds for stage in left.values()):
        return None
    works = {
        key: StageRun(
            max(statistics.mean(seconds[s.stage]) - (now.at - s.since if s.since else 0.0), 0.0),
            now.jobs if s.stage in TIMED else 1,
            s.inputs,
        )
        for key, s in left.items()
    }
    return simulate_schedule(works, max(now.jobs, len(now.in_state("running")))).makespan


def status_document(now: RunStatus) -> dict[str, Any]:
    """Return the status as JSON; times are seconds, `began` and `at` since 1970."""
    ended = {None: "running", "": "finished"}.get(now.end, "stopped")
    return {
        "run": now.run,
        "title": now.title,
        "state": ended,
        "reason": now.end or "",
        "stopping": now.stopping,
        "began": now.began,
        "at": now.at,
        "seconds_left": seconds_left(now) if now.end is None else None,
        "jobs": now.jobs,
        "stages": [
            {
                "key": key,
                "stage": stage.stage,
                "label": stage.label,
                "state": stage.state,
                "since": stage.since or None,
                "seconds": stage.seconds or None,
                "note": stage.note,
            }
            for key, stage in now.stages.items()
        ],
    }


def status_lines(now: RunStatus) -> list[str]:
    """Return the lines that `draftmark status` prints."""
    spent = format_seconds(now.at - now.began)
    state = f"running for {spent}" if now.end is None else f"ended after {spent}: {now.end}"
    if now.end == "":
        state = f"finished in {spent}"
    counts = ", ".join(
        f"{len(stages)} {name}"
        for name in ("cached", "done", "running", "failed", "refused", "to do")
        if (stages := now.in_state(name))
    )
    printed = [f"{now.run}: {now.title}", f"{state}; {counted(len(now.stages), 'stage')}: {counts}"]
    if now.stopping:
        printed.append("stopping when the running stages have finished")
    for state in ("running", "failed", "refused"):
        printed += _listed(state, now.in_state(state), now.at)
    if now.end is None and (left := seconds_left(now)) is not None:
        printed.append(f"about {format_seconds(left)} left, by the mean time of stages like these")
    return printed


def _listed(state: str, stages: Sequence[StageStatus], at: float) -> list[str]:
    lines = [
        f"  {state} {stage.stage}: {stage.label}: "
        + (f"{format_seconds(at - stage.since)}, " if stage.since else "")
        + stage.note
        for stage in stages
    ]
    more = len(lines) - _SHOWN
    return lines[:_SHOWN] + ([f"  ... {more} more"] if more > 0 else [])
