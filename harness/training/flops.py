"""The FLOPs of a training step: what the ledger charges, and what a plan expects.

2 for each weight and token forward, 2 for the gradient of its input, 2 for its own (Kaplan et al.
2020, arXiv 2001.08361, section 2.1). Attention between tokens is not counted here.
"""

from dataclasses import dataclass

# Head and loss take positions x vocabulary of this many logits at once: 32 MiB each time that they
# are held, which is half a dozen times.
CHUNK_LOGITS = 2**23


@dataclass(frozen=True)
class Weights:
    """How many weights do the work: the draft's body and head, the target's head if one is read."""

    body: int
    head: int
    target_head: int = 0
    trains_head: bool = True


def of_step(
    weights: Weights,
    read: float,
    supervised: float,
    *,
    live: bool = False,
    surveyed: bool = False,
    compared: bool = False,
    depth: int = 1,
) -> float:
    """Return the FLOPs of training on tokens: `read` by the body, `supervised` by the heads.

    `live`: the draft wrote them first. `surveyed`: every head gave its logits once more, without a
    gradient. `compared`: a reference of the draft's shape read them too. `depth`: at how many
    depths the draft, or the reference, read each supervised token.
    """
    body, head = weights.body, weights.head
    slots, states = read + (depth - 1) * supervised, depth * supervised
    flops = 6 * body * slots + (6 if weights.trains_head else 4) * head * states
    flops += 2 * weights.target_head * supervised * (2 if surveyed else 1)
    if live:
        flops += 2 * body * read + 2 * head * supervised
    if surveyed:
        flops += 2 * head * states
    if compared:
        flops += 2 * body * slots + 2 * head * states
    return flops
