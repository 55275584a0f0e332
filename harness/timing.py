"""Times two arms side by side: synchronised clocks, blocks of the order A B B A.

Both arms of a block decode the same prompts. Drift of the machine (heat, other load) falls on both
alike, and the ratio of a block is of total times, so prompts of different lengths weigh as they do
for a user. The blocks' log ratios are averaged with a t interval.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.types import Decode, Prompt

Arm = Literal["target", "draft"]
ABBA: tuple[Arm, ...] = ("target", "draft", "draft", "target")


@dataclass(frozen=True)
class TimedDecode:
    """A decode with where in the measurement it was made."""

    arm: Arm
    block: int
    repeat: int  # 0 or 1: the first or the second time that this arm ran in its block
    decode: Decode


def synchronise(device: str) -> None:
    """Wait until the device has done all it was asked to, so that a clock tells the truth."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def interleave(
    arms: dict[Arm, Callable[[Sequence[Prompt]], Sequence[Decode]]],
    blocks: Sequence[Sequence[Prompt]],
    advance: Callable[[], None],
) -> list[TimedDecode]:
    """Return every arm's decodes of every block, run in the order A B B A after a warm-up.

    The warm-up decodes the first block's shortest and longest prompt with both arms, untimed.
    """
    by_length = sorted(blocks[0], key=lambda prompt: len(prompt.token_ids))
    for arm in arms.values():
        arm([by_length[0], by_length[-1]])
    timed = []
    for index, prompts in enumerate(blocks):
        repeats = {"target": 0, "draft": 0}
        for arm_name in ABBA:
            for decode in arms[arm_name](prompts):
                timed.append(TimedDecode(arm_name, index, repeats[arm_name], decode))
            repeats[arm_name] += 1
            advance()
    return timed


def log_ratio_interval(ratios: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Return (geometric mean, low, high) of positive ratios, by a t interval on their logs.

    Raises ValueError for fewer than two: one block says nothing of its own spread.
    """
    from scipy import stats

    if len(ratios) < 2:
        raise ValueError(f"an interval needs two blocks or more, got {len(ratios)}")
    logs = [math.log(ratio) for ratio in ratios]
    mean = math.fsum(logs) / len(logs)
    variance = math.fsum((value - mean) ** 2 for value in logs) / (len(logs) - 1)
    half = float(stats.t.ppf(0.5 + level / 2, len(logs) - 1)) * math.sqrt(variance / len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)
