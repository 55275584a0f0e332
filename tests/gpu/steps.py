"""The steps of `make gpu`: each is a command with a limit of time, which prints a table as JSON."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 77  # the exit code of a step that this machine cannot run; its last line says why
LAST_LINES = 12  # of a step that failed

Status = Literal["passed", "failed", "skipped", "out of time"]


@dataclass(frozen=True)
class Step:
    """A step by its name, what it shows, and its minutes of the 20; its module is in tests.gpu."""

    name: str
    title: str
    minutes: float


STEPS = (
    Step("device_tests", "Tests that touch a device", 4),
    Step("demo", "The demo in bfloat16", 4),
    Step("rates", "Rates beside the roofline", 4),
    Step("memory", "Peak memory beside the plan's forms", 2),
    Step("served", "vLLM from end to end", 4),
    Step("processes", "Training in several processes", 2),
)


@dataclass(frozen=True)
class Done:
    """How a step ended: its seconds, its table (rows by column), and the reason if it failed."""

    step: Step
    status: Status
    seconds: float
    reason: str = ""
    rows: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    note: str = ""


def run_step(step: Step, device: str, out: Path, *, small: bool, seconds: float) -> Done:
    """Run a step in a process of its own, and end it and its children at the limit.

    Its whole output is kept in OUT/<name>.log.
    """
    words = [sys.executable, "-m", f"tests.gpu.{step.name}", "--device", device, "--out", str(out)]
    started = perf_counter()
    with (out / f"{step.name}.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*words, *(["--small"] if small else [])],
            cwd=ROOT,
            env=environment_of(device),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end_group(process)
        log.seek(0)
        lines = log.read().splitlines()
    return ended(step, code, lines, perf_counter() - started)


def environment_of(device: str) -> dict[str, str]:
    """Return the environment of a step; on the CPU draftmark sees no GPU."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {**os.environ, **hidden, "DRAFTMARK_DEVICE": device}


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End what a step left running, such as a server."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def ended(step: Step, code: int | None, lines: Sequence[str], seconds: float) -> Done:
    """Return how a step ended, by its exit code (None: the limit) and its output."""
    last = lines[-1] if lines else "no output"
    if code is None:
        return Done(step, "out of time", seconds, f"stopped after {seconds:.0f} s; last: {last}")
    if code == SKIPPED:
        return Done(step, "skipped", seconds, last)
    found = _table(last)
    if code or found is None:
        tail = "\n".join(lines[-LAST_LINES:])
        return Done(step, "failed", seconds, f"exit code {code}\n{tail}", *_kept(found))
    return Done(step, "passed", seconds, "", *_kept(found))


def _kept(found: Mapping[str, Any] | None) -> tuple[Sequence[Mapping[str, Any]], str]:
    return (found["rows"], found.get("note", "")) if found else ((), "")


def _table(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "rows" in found else None
