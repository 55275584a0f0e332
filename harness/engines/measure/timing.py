"""Times two arms with synchronised clocks, in blocks of the order A B B A.

Both arms of a block decode the same prompts, so drift of the machine (heat, other load) affects
both alike. A block's ratio is that of total times, so long prompts weigh as they do for a user.
The speedup is the median of the blocks' ratios, so a block that another program disturbed does not
move it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from draftmark.store.speed_records import TimedRun
from draftmark.types import Arm, Decode, Prompt, TimedDecode

ABBA: tuple[Arm, ...] = ("target", "draft", "draft", "target")


class Meter(Protocol):
    """Measures the machine during a run."""

    def start(self) -> None:
        """Begin a run."""

    def stop(self) -> tuple[int | None, float | None]:
        """Return the run's peak memory in bytes and its energy in joules, None if unknown."""


@dataclass(frozen=True)
class TimedArm:
    """An arm's engine, and the meter of its runs."""

    decode: Callable[[Sequence[Prompt]], Sequence[Decode]]
    meter: Meter


def synchronised_time(device: str) -> float:
    """Return the time in seconds after the device has finished all work queued on it."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
    return perf_counter()


def interleave_arms(
    arms: Mapping[Arm, TimedArm],
    blocks: Sequence[Sequence[Prompt]],
    advance: Callable[[], None],
    batch_size: int = 1,
) -> tuple[list[TimedDecode], list[TimedRun]]:
    """Return every arm's decodes of every block and the clock around each run, in order A B B A.

    An untimed warm-up decodes a batch of the shortest and one of the longest prompts with each arm.
    """
    by_length = sorted({p for block in blocks for p in block}, key=lambda p: len(p.token_ids))
    for arm in arms.values():
        for batch in (by_length[:batch_size], by_length[-batch_size:]):
            arm.decode(batch)
    timed, runs = [], []
    for index, prompts in enumerate(blocks):
        repeats: dict[Arm, int] = {"target": 0, "draft": 0}
        for name in ABBA:
            decodes, run = _run(arms[name], prompts, name, index, repeats[name])
            timed += [TimedDecode(name, index, run.repeat, decode) for decode in decodes]
            runs.append(run)
            repeats[name] += 1
            advance()
    return timed, runs


def _run(
    arm: TimedArm, prompts: Sequence[Prompt], name: Arm, block: int, repeat: int
) -> tuple[Sequence[Decode], TimedRun]:
    arm.meter.start()
    started = perf_counter()
    decodes = arm.decode(prompts)
    wall_s = perf_counter() - started
    return decodes, TimedRun(name, block, repeat, wall_s, *arm.meter.stop())
