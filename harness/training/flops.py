"""The FLOPs of a training step, for the ledger and for plans.

For each weight and token: 2 forward, 2 for the gradient of the input, 2 for the gradient of the
weight (Kaplan et al. 2020, arXiv 2001.08361, section 2.1). Attention between tokens is not counted.
"""

from dataclasses import dataclass

# The heads compute this many logits (positions x vocabulary) at once: 32 MiB in float32, of the
# draft, of the target and of the gradient.
CHUNK_LOGITS = 2**23
KEPT_CHUNKS = 2  # the chunks of a step whose logits a PreLossPass keeps for the loss


@dataclass(frozen=True)
class WeightCounts:
    """The numbers of weights: of the draft's body and head, and of the target's head if used.

    `adapters`: of LoRA's, which then alone train.
    """

    body: int
    head: int
    target_head: int = 0
    trains_head: bool = True
    adapters: int = 0


@dataclass(frozen=True)
class StepKind:
    """The parts of a training step that cost extra."""

    depth: float = 1  # how often draft and reference read a supervised token, in the mean
    live: bool = False  # the draft writes the texts, and the target reads them at once
    target_reads: bool = False  # the target reads texts that were written before
    # A PreLossPass computes all logits once more, without a gradient. Those that a step keeps for
    # its loss count too: the estimate does not depend on memory.
    measured: bool = False
    compared: bool = False  # a reference of the draft's shape reads the texts too


def step_flops(weights: WeightCounts, read: float, supervised: float, kind: StepKind) -> float:
    """Return the FLOPs of a step with `read` tokens in the body and `supervised` in the heads."""
    body, head = weights.body, weights.head
    slots, states = read + (kind.depth - 1) * supervised, kind.depth * supervised
    trains_body, trains_head = not weights.adapters, weights.trains_head and not weights.adapters
    flops = (6 if trains_body else 4) * body * slots + (6 if trains_head else 4) * head * states
    flops += 6 * weights.adapters * slots
    flops += 2 * weights.target_head * supervised * (2 if kind.measured else 1)
    if kind.live:
        flops += 2 * (body + weights.adapters) * read + 2 * head * supervised
    if kind.measured:
        flops += 2 * head * states
    if kind.compared:
        flops += 2 * body * slots + 2 * head * states
    return flops
