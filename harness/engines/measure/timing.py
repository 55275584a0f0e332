"""Times two arms side by side: synchronised clocks, blocks of the order A B B A.

Both arms of a block decode the same prompts. Drift of the machine (heat, other load) falls on both
alike, and the ratio of a block is of total times, so prompts of different lengths weigh as they do
for a user. `statistics.log_ratio_interval` averages the blocks' ratios.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from draftmark.store.speed_records import TimedRun
from draftmark.types import Arm, Decode, Prompt, TimedDecode

ABBA: tuple[Arm, ...] = ("target", "draft", "draft", "target")


class Meter(Protocol):
    """What is read of the machine around a run."""

    def start(self) -> None:
        """Begin a run."""

    def stop(self) -> tuple[int | None, float | None]:
        """Return the run's peak memory in bytes and its energy in joules, where they can be had."""


@dataclass(frozen=True)
class TimedArm:
    """What decodes, and what is read of the machine meanwhile."""

    decode: Callable[[Sequence[Prompt]], Sequence[Decode]]
    meter: Meter


def synchronise(device: str) -> None:
    """Wait until the device has done all it was asked to, so that a clock tells the truth."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def interleave(
    arms: Mapping[Arm, TimedArm],
    blocks: Sequence[Sequence[Prompt]],
    advance: Callable[[], None],
    batch_size: int = 1,
) -> tuple[list[TimedDecode], list[TimedRun]]:
    """Return every arm's decodes of every block and the clock around each run, in order A B B A.

    The warm-up decodes the shortest and the longest prompts, a batch of each, with both arms,
    untimed.
    """
    by_length = sorted({p for block in blocks for p in block}, key=lambda p: len(p.token_ids))
    for arm in arms.values():
        for some in (by_length[:batch_size], by_length[-batch_size:]):
            arm.decode(some)
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
