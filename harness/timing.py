"""Times two arms side by side: synchronised clocks, blocks of the order A B B A.

Both arms of a block decode the same prompts. Drift of the machine (heat, other load) falls on both
alike, and the ratio of a block is of total times, so prompts of different lengths weigh as they do
for a user. `statistics.log_ratio_interval` averages the blocks' ratios.
"""

from collections.abc import Callable, Sequence

from harness.types import Arm, Decode, Prompt, TimedDecode

ABBA: tuple[Arm, ...] = ("target", "draft", "draft", "target")


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
