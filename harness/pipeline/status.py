"""Where a run stands, read from what it tells and from the store: while it runs and ever after."""

import json
import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from draftmark.errors import UserError
from draftmark.pipeline.journal import ALIVE, BEAT_S
from draftmark.pipeline.planning.estimates import format_seconds
from draftmark.pipeline.planning.schedule import StageRun, simulate_schedule
from draftmark.store.entries import ENTRY
from draftmark.store.store import RUNS

SILENT_S = 12 * BEAT_S  # a run on another machine that shows no sign for so long is taken for dead
_SHOWN = 20  # stages that run, or that have no result, that are listed

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """One stage of a run: what it is, and what became of it."""

    stage: str
    label: str
    inputs: tuple[str, ...]
    state: str = "to do"  # cached, done, running, failed, refused
    since: float = 0.0  # when it began, if it runs
    seconds: float = 0.0  # that it took, if it is done or cached
    note: str = ""  # how far it is, where it runs, why it failed or was refused


@dataclass(frozen=True)
class Standing:
    """Where a run stands at a moment."""

    run: str
    title: str
    began: float
    at: float
    end: str | None  # why it is over; empty if all was done, None if it goes on
    stopping: bool = False
    stages: Mapping[str, Stage] = field(default_factory=dict)

    def of(self, state: str) -> list[Stage]:
        """Return the stages in a state."""
        return [stage for stage in self.stages.values() if stage.state == state]


def standing(store: Path, run: str, now: float | None = None) -> Standing:
    """Return where the latest attempt at a run stands; raises UserError if it is not known."""
    attempts = sorted((store / RUNS / run).glob("*/"))
    events = sorted(_events(attempts[-1]), key=lambda event: event["at"]) if attempts else []
    first = next((event for event in events if event["event"] == "run"), None)
    if first is None:
        known = sorted(path.name for path in (store / RUNS).glob("*/"))
        raise UserError(
            f"Nothing is known of a run {run!r} in {store}; known: {', '.join(known) or 'none'}. "
            "Name its folder, or its store by --store."
        )
    now = now or time.time()
    end = next((event["reason"] for event in reversed(events) if event["event"] == "end"), None)
    if end is None and not _lives(first, attempts[-1], now):
        end = "it died; what is done is kept, and the same command goes on from there."
    said: dict[str, list[Event]] = {item["key"]: [] for item in first["stages"]}
    for event in events:
        said.get(event.get("key", ""), []).append(event)
    stages = {
        item["key"]: _stage(item, said[item["key"]], store, end is None) for item in first["stages"]
    }
    last = now if end is None else max(event["at"] for event in events)
    stopping = end is None and (attempts[-1] / "stop").exists()
    return Standing(run, first["title"], first["at"], last, end, stopping, stages)


def latest(store: Path) -> str:
    """Return the run that was begun last; raises UserError if there is none."""
    attempts = sorted((store / RUNS).glob("*/*/"), key=lambda path: path.name)
    if not attempts:
        raise UserError(f"No run has begun in {store}; name a run's folder, or --store.")
    return attempts[-1].parent.name


def _events(folder: Path) -> Iterator[Event]:
    for path in folder.glob("*.jsonl"):
        for line in path.read_text("utf-8").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # the last line of a process that was killed
            if isinstance(event, dict) and {"at", "event"} <= event.keys():
                yield event


def _lives(first: Event, folder: Path, now: float) -> bool:
    """Say whether a run's process goes on: here it is looked for, elsewhere it shows itself."""
    import psutil

    if first["host"] == platform.node():
        try:
            began = float(psutil.Process(first["pid"]).create_time())
            return abs(began - float(first["started"])) < 1
        except psutil.Error:
            return False
    alive = folder / ALIVE
    return alive.exists() and now - alive.stat().st_mtime < SILENT_S


def _stage(item: Mapping[str, Any], said: Sequence[Event], store: Path, lives: bool) -> Stage:
    """Return what became of a stage; what is in the store is done, whoever made it."""
    stage = Stage(item["stage"], item["label"], tuple(item["inputs"]))
    took = _seconds(store / stage.stage / item["key"] / ENTRY)
    if took is not None:
        return _with(stage, "cached" if item["cached"] else "done", seconds=took)
    if not said:
        return stage
    last = said[-1]
    if last["event"] in ("failed", "refused"):
        return _with(stage, last["event"], note=last["reason"])
    if not lives or last["event"] == "done":
        return stage
    since = next((e["at"] for e in reversed(said) if e["event"] == "start"), last["at"])
    far = f"{last['label']} {last['done']}/{last['total']}, " if last["event"] == "step" else ""
    return _with(stage, "running", since=since, note=f"{far}{last['host']}")


def _with(stage: Stage, state: str, **changes: Any) -> Stage:
    return Stage(stage.stage, stage.label, stage.inputs, state, **changes)


def _seconds(entry: Path) -> float | None:
    """Return how long an entry took to make; None if there is none that reads."""
    try:
        return float(json.loads(entry.read_text("utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remaining(now: Standing) -> float | None:
    """Return about how many seconds are left: as long as stages of their kind have taken here.

    None as long as a kind is to come of which none is done.
    """
    taken: dict[str, list[float]] = {}
    for stage in [*now.of("done"), *now.of("cached")]:
        taken.setdefault(stage.stage, []).append(stage.seconds)
    left = {k: s for k, s in now.stages.items() if s.state in ("to do", "running")}
    if any(stage.stage not in taken for stage in left.values()):
        return None
    works = {
        key: StageRun(
            max(statistics.mean(taken[s.stage]) - (now.at - s.since if s.since else 0.0), 0.0),
            inputs=s.inputs,
        )
        for key, s in left.items()
    }
    return simulate_schedule(works, max(1, len(now.of("running")))).makespan


def lines(now: Standing) -> list[str]:
    """Return where a run stands, for a person."""
    spent = format_seconds(now.at - now.began)
    state = f"running for {spent}" if now.end is None else f"over after {spent}: {now.end}"
    if now.end == "":
        state = f"finished in {spent}"
    counts = ", ".join(
        f"{len(found)} {name}"
        for name in ("cached", "done", "running", "failed", "refused", "to do")
        if (found := now.of(name))
    )
    said = [f"{now.run}: {now.title}", f"{state}; {len(now.stages)} stages: {counts}"]
    if now.stopping:
        said.append("stopping when the stages that run are done")
    for state in ("running", "failed", "refused"):
        said += _listed(state, now.of(state), now.at)
    if now.end is None and (left := remaining(now)) is not None:
        said.append(
            f"about {format_seconds(left)} left, if stages take as long as those of their kind"
        )
    return said


def _listed(state: str, stages: Sequence[Stage], at: float) -> list[str]:
    found = [
        f"  {state} {stage.stage}: {stage.label}: "
        + (f"{format_seconds(at - stage.since)}, " if stage.since else "")
        + stage.note
        for stage in stages
    ]
    more = len(found) - _SHOWN
    return found[:_SHOWN] + ([f"  ... {more} more"] if more > 0 else [])
