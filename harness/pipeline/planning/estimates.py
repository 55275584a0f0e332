"""What reading, writing and training cost, of a model's shape and the tokens: closed forms.

FLOPs of weights are those of `flops`. Attention between tokens is counted beside them: 2 products
of 2 FLOPs for each dimension, over half of the text on average, in each layer. Nothing is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

from draftmark.models.shapes import SIZES, Shape
from draftmark.pipeline.planning.hardware import Machine
from draftmark.training.flops import CHUNK_LOGITS, StepKind, Weights, of_step
from draftmark.types import TrainingRun

# Weights, gradients and AdamW's two moments in float32.
TRAINED_WEIGHT_BYTES = 4 * 4
# Activations that a layer keeps for its gradient, in numbers of 16 bits, by token and dimension:
# 34 bytes without attention scores (Korthikanti et al. 2022, arXiv 2205.05198, equation 1).
ACTIVATION_BYTES = 34
LOGITS = 6  # arrays of that many logits in float32: of draft and target, of the loss, gradients


@dataclass(frozen=True)
class Cost:
    """What a stage costs; `attention` is not in `flops`."""

    flops: float = 0.0
    attention: float = 0.0
    peak_bytes: float = 0.0
    disk_bytes: float = 0.0
    gpu_s: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        """Return the cost of both, one after the other."""
        return Cost(
            self.flops + other.flops,
            self.attention + other.attention,
            max(self.peak_bytes, other.peak_bytes),
            self.disk_bytes + other.disk_bytes,
            self.gpu_s + other.gpu_s,
        )

    @property
    def all_flops(self) -> float:
        """FLOPs of weights and of attention."""
        return self.flops + self.attention


def total(costs: Sequence[Cost]) -> Cost:
    """Return the cost of all, one after the other."""
    return reduce(Cost.__add__, costs, Cost())


@dataclass(frozen=True)
class Load:
    """Rows and the tokens of all of them; the end token is part of the response."""

    rows: float
    prompt: float
    response: float

    @property
    def read(self) -> float:
        """The tokens that go through a model: all but the last of each row."""
        return self.prompt + self.response - self.rows

    @property
    def length(self) -> float:
        """The mean length of a text."""
        return (self.prompt + self.response) / self.rows

    def times(self, factor: float) -> "Load":
        """Return so many times as much."""
        return Load(self.rows * factor, self.prompt * factor, self.response * factor)


def attention(shape: Shape, tokens: float, length: float) -> float:
    """Return the FLOPs of attention forward for tokens of texts of a length."""
    return 2 * shape.layers * shape.heads * shape.head_dim * length * tokens


def reading(
    shape: Shape, load: Load, machine: Machine, *, dtype: str = "float32", head: bool = True
) -> Cost:
    """Return the cost of one pass over texts, in batches of 4096 tokens."""
    flops = 2 * shape.body * load.read + (2 * shape.head * load.response if head else 0)
    between = attention(shape, load.read, load.length)
    held = SIZES[dtype] * (shape.parameters + 4096 * shape.hidden * 8)
    return Cost(flops, between, held, 0, machine.compute_s(flops + between, dtype))


def writing(
    shape: Shape, load: Load, limit: int, machine: Machine, *, rows_per_batch: int, dtype: str
) -> Cost:
    """Return the cost of generating responses, a batch at a time.

    A pass of decoding reads the weights and the batch's keys and values. A batch goes on until its
    longest response ends, taken for the limit: an upper bound.
    """
    done = reading(shape, load, machine, dtype=dtype)
    prompt_s = machine.compute_s(2 * shape.body * load.prompt, dtype)
    together = min(rows_per_batch, load.rows)
    position = 2 * shape.layers * shape.key_value_heads * shape.head_dim * SIZES[dtype]
    cache = together * (load.prompt / load.rows + limit) * position
    weights = shape.parameters * SIZES[dtype]
    one_s = machine.pass_s(weights + cache, 2 * (shape.body + shape.head) * together, dtype)
    passes = -(-load.rows // together) * limit
    return Cost(done.flops, done.attention, weights + cache, 0, prompt_s + passes * one_s)


def training(
    shape: Shape,
    load: Load,
    course: TrainingRun,
    machine: Machine,
    *,
    dtype: str,
    target_head: int = 0,
    live: float = 0.0,
) -> Cost:
    """Return the cost of the steps over `load`, the rows of one pass.

    `live` is the share of steps whose text the draft writes. Validation, and what the target reads,
    are not in it.
    """
    seen = load.times(course.passes)
    weights = Weights(shape.body, shape.head, target_head, shape.trained_head)
    kind = StepKind(course.depth, measured=course.compared, compared=course.compared)
    flops = of_step(weights, seen.read, seen.response, kind)
    alive = of_step(weights, seen.read, seen.response, replace(kind, live=True))
    flops += live * (alive - flops)
    slots = 1 + (course.depth - 1) * load.response / load.read  # for each that is read
    once = attention(shape, seen.read * slots, load.length)
    between = once * (3 + live + (1 if course.compared else 0))
    held = 4.0 * (shape.parameters - shape.trained) + shape.trained * TRAINED_WEIGHT_BYTES
    held += 2 * 4 * shape.parameters if course.compared else 0  # the reference, and the init
    held += target_head * SIZES[dtype]
    tokens = course.rows_per_batch * load.length * slots
    held += tokens * shape.hidden * shape.layers * ACTIVATION_BYTES * SIZES[dtype] / 2
    supervised = course.rows_per_batch * load.response / load.rows
    held += LOGITS * 4 * min(CHUNK_LOGITS, shape.vocabulary * supervised)
    return Cost(flops, between, held, 0, machine.compute_s(flops + between, dtype))


def weight_bytes(shape: Shape) -> int:
    """Return the bytes of a model as it is saved, in float32."""
    return shape.parameters * 4


def state_bytes(shape: Shape, layers: int, read: float, dtype: str) -> float:
    """Return the bytes of what some of the target's layers put out for every token it reads."""
    return read * layers * shape.hidden * SIZES[dtype]


def feature_bytes(shape: Shape, supervised: float, dtype: str) -> float:
    """Return the bytes of cached hidden states: one of the target's for each supervised token."""
    return supervised * shape.hidden * SIZES[dtype]
