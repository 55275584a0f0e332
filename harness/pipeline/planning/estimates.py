"""FLOPs, memory, disk and seconds from a model's shape and token counts, in closed form.

FLOPs of weights are those of `training.flops`. FLOPs of attention between tokens are counted
separately. Seconds assume a share of a data sheet's FLOP/s; nothing is measured.
"""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace

from draftmark.errors import unknown_name_error
from draftmark.models.shapes import SIZES, Shape
from draftmark.training.flops import CHUNK_LOGITS, StepKind, WeightCounts, step_flops
from draftmark.types import TrainingRun

# Large trainings reach 0.3 to 0.5 of the peak FLOP/s (PaLM 0.46: Chowdhery et al. 2022, arXiv
# 2204.02311, table 3); small models in small batches reach less.
UTILISATION = 0.3
# Weight, gradient and AdamW's two moments in float32.
TRAINED_WEIGHT_BYTES = 4 * 4
# Activations that a layer keeps for its gradient, in bytes per token and dimension in 16 bits,
# without attention scores (Korthikanti et al. 2022, arXiv 2205.05198, equation 1).
ACTIVATION_BYTES = 34
# Float32 arrays of logits held at once: of draft and target in one chunk and in two that a
# PreLossPass keeps. Without a PreLossPass: of draft, target and gradient.
LOGIT_ARRAYS = 6


@dataclass(frozen=True)
class Gpu:
    """One accelerator: peak dense FLOP/s by dtype, memory in bytes, bandwidth in bytes/s.

    `utilisation`: the share of the peak FLOP/s that matrix products reach. `layer_s`: the seconds
    that a layer takes beside its products, in each pass. `bounds`: texts reach the length limit.
    """

    name: str
    flops: Mapping[str, float]
    memory_bytes: float
    bandwidth: float
    utilisation: float = UTILISATION
    layer_s: float = 0.0
    bounds: bool = True

    def compute_s(self, flops: float, dtype: str) -> float:
        """Return the seconds that FLOPs take in a dtype."""
        return flops / (self.flops.get(dtype, self.flops["bfloat16"]) * self.utilisation)


# NVIDIA's data sheets of the SXM and PCIe modules, without sparsity; float32 without TF32, which is
# torch's default.
GPUS = {
    "h100": Gpu("H100 SXM 80 GB", {"bfloat16": 989e12, "float32": 67e12}, 80e9, 3.35e12),
    "h200": Gpu("H200 SXM 141 GB", {"bfloat16": 989e12, "float32": 67e12}, 141e9, 4.8e12),
    "a100": Gpu("A100 SXM 80 GB", {"bfloat16": 312e12, "float32": 19.5e12}, 80e9, 2.04e12),
    "l40s": Gpu("L40S 48 GB", {"bfloat16": 362e12, "float32": 91.6e12}, 48e9, 0.864e12),
}

# One thread of a processor with AVX2 (AMD EPYC), from the stages of `methods` and `quickstart` on
# the tiny target. Other processors differ by a factor of two or three.
THREAD = Gpu("one thread", {"bfloat16": 45e9, "float32": 45e9}, 0.0, 10e9, 1.0, 2e-4, bounds=False)
# The longest text of a batch, in mean lengths of gold answers: of the tiny models' texts.
LONGEST = 4.0


def find_gpu(name: str, utilisation: float = UTILISATION) -> Gpu:
    """Return a GPU by name; raises UserError for an unknown name."""
    if name not in GPUS:
        raise unknown_name_error("GPU", name, GPUS)
    return replace(GPUS[name], utilisation=utilisation)


@dataclass(frozen=True)
class Cost:
    """The cost of a stage; `flops` are those of weights, without attention.

    `peak_bytes`: of each process. `spread_bytes` are those of them that a placement spreads over
    `gpus` GPUs.
    """

    flops: float = 0.0
    attention_flops: float = 0.0
    peak_bytes: float = 0.0
    disk_bytes: float = 0.0
    gpu_s: float = 0.0
    spread_bytes: float = 0.0
    gpus: int = 1

    def __add__(self, other: "Cost") -> "Cost":
        """Return the cost of both stages in turn: sums, and the larger peak."""
        spread = max(self.spread_bytes, other.spread_bytes)
        return Cost(
            self.flops + other.flops,
            self.attention_flops + other.attention_flops,
            max(self.fixed_bytes, other.fixed_bytes) + spread,
            self.disk_bytes + other.disk_bytes,
            self.gpu_s + other.gpu_s,
            spread,
        )

    @property
    def fixed_bytes(self) -> float:
        """The bytes that one device must hold."""
        return self.peak_bytes - self.spread_bytes

    def devices(self, gpu: Gpu) -> int | None:
        """Return the fewest GPUs that hold the stage; None if no number does."""
        if self.peak_bytes <= gpu.memory_bytes:
            return 1
        room = gpu.memory_bytes - self.fixed_bytes
        return math.ceil(self.spread_bytes / room) if room > 0 and self.spread_bytes else None

    @property
    def device_bytes(self) -> float:
        """The memory that the stage takes of each of its GPUs."""
        return self.fixed_bytes + self.spread_bytes / self.gpus

    @property
    def total_flops(self) -> float:
        """FLOPs of weights and of attention."""
        return self.flops + self.attention_flops


@dataclass(frozen=True)
class Load:
    """The number of rows and their total tokens; responses include the end token."""

    rows: float
    prompt_tokens: float
    response_tokens: float

    @property
    def read_tokens(self) -> float:
        """The tokens that a model reads: all but the last of each row."""
        return self.prompt_tokens + self.response_tokens - self.rows

    @property
    def mean_length(self) -> float:
        """The mean tokens per row."""
        return (self.prompt_tokens + self.response_tokens) / self.rows

    def scaled(self, factor: float) -> "Load":
        """Return the load times a factor."""
        return Load(*(factor * each for each in astuple(self)))


@dataclass(frozen=True)
class MemorySettings:
    """The settings of a training that decide its memory in each process."""

    processes: int = 1
    rows_at_once: int | None = None
    checkpointing: bool = False
    sharded: bool = False

    def rows(self, rows_per_batch: int) -> int:
        """Return the rows of a step that a process reads at once."""
        own = -(-rows_per_batch // self.processes)
        return min(own, self.rows_at_once or own)

    def weight_bytes(self, shape: Shape) -> float:
        """Return the bytes of weights, gradients and moments.

        A sharded training has one layer whole at a time, with its gradient, and parts of the rest.
        """
        frozen = shape.parameters + shape.adapters - shape.trained
        total = 4.0 * frozen + shape.trained * TRAINED_WEIGHT_BYTES
        if not self.sharded:
            return total
        layers = shape.layers * shape.layer_parameters
        adapted = bool(shape.adapters)
        spread = 4.0 * layers + 16 * shape.adapters if adapted else layers * TRAINED_WEIGHT_BYTES
        return total - spread + spread / self.processes + 2 * 4 * shape.layer_parameters

    def activation_bytes(self, shape: Shape, tokens: float, dtype: str) -> float:
        """Return the bytes of activations of tokens that are read at once."""
        layer = tokens * shape.hidden * ACTIVATION_BYTES * SIZES[dtype] / 2
        if not self.checkpointing:
            return layer * shape.layers
        return layer + tokens * shape.hidden * SIZES[dtype] * shape.layers


def attention_flops(shape: Shape, tokens: float, length: float) -> float:
    """Return the FLOPs of attention in a forward pass over tokens of texts of a mean length.

    2 products of 2 FLOPs per layer and dimension, over half of the text on average.
    """
    return 2 * shape.layers * shape.heads * shape.head_dim * length * tokens


def forward_cost(
    shape: Shape, load: Load, gpu: Gpu, *, dtype: str = "float32", head: bool = True
) -> Cost:
    """Return the cost of one forward pass over texts, in batches of 4096 tokens."""
    flops = 2 * shape.body * load.read_tokens
    flops += 2 * shape.head * load.response_tokens if head else 0
    attention = attention_flops(shape, load.read_tokens, load.mean_length)
    peak_bytes = SIZES[dtype] * (shape.parameters + 4096 * shape.hidden * 8)
    return Cost(flops, attention, peak_bytes, 0, gpu.compute_s(flops + attention, dtype))


def generation_cost(
    shape: Shape, load: Load, limit: float, gpu: Gpu, *, rows_per_batch: int, dtype: str
) -> Cost:
    """Return the cost of generating responses batch by batch.

    A decoding pass reads the weights and the batch's KV cache; memory bandwidth or FLOPs bound its
    time. A batch runs to `limit` tokens: an upper bound. If the device estimates without bounds, it
    runs to the longest text of the batch.
    """
    forward = forward_cost(shape, load, gpu, dtype=dtype)
    prefill_s = gpu.compute_s(2 * shape.body * load.prompt_tokens, dtype)
    batch = min(rows_per_batch, load.rows)
    if not gpu.bounds:
        limit = min(limit, (LONGEST if batch > 1 else 1) * load.response_tokens / load.rows)
    token_bytes = 2 * shape.layers * shape.key_value_heads * shape.head_dim * SIZES[dtype]
    cache = batch * (load.prompt_tokens / load.rows + limit) * token_bytes
    weights = shape.parameters * SIZES[dtype]
    flops_s = gpu.compute_s(2 * (shape.body + shape.head) * batch, dtype)
    pass_s = max((weights + cache) / gpu.bandwidth, flops_s) + shape.layers * gpu.layer_s
    passes = -(-load.rows // batch) * limit
    gpu_s = prefill_s + passes * pass_s
    return Cost(forward.flops, forward.attention_flops, weights + cache, 0, gpu_s)


def training_cost(
    shape: Shape,
    load: Load,
    run: TrainingRun,
    gpu: Gpu,
    *,
    dtype: str,
    target_head: int = 0,
    live: float = 0.0,
    memory: MemorySettings = MemorySettings(),
) -> Cost:
    """Return the cost of a training run's steps; `load` holds the rows of one pass.

    `live` is the share of steps whose text the draft generates. Validation and the target's forward
    passes are not counted. FLOPs do not count layers that are computed again, but the time does.
    """
    seen = load.scaled(run.passes)
    weights = WeightCounts(shape.body, shape.head, target_head, shape.trained_head, shape.adapters)
    kind = StepKind(run.depth, measured=run.compared, compared=run.compared)
    flops = step_flops(weights, seen.read_tokens, seen.response_tokens, kind)
    on_policy = replace(kind, live=True)
    flops += live * (step_flops(weights, seen.read_tokens, seen.response_tokens, on_policy) - flops)
    slots = (
        1 + (run.depth - 1) * load.response_tokens / load.read_tokens
    )  # positions per token read
    forward = attention_flops(shape, seen.read_tokens * slots, load.mean_length)
    attention = forward * (3 + live + (1 if run.compared else 0))
    peak = memory.weight_bytes(shape)
    peak += 2 * 4 * shape.parameters if run.compared else 0  # the reference and the init
    peak += target_head * SIZES[dtype]
    rows = memory.rows(run.rows_per_batch)
    peak += memory.activation_bytes(shape, rows * load.mean_length * slots, dtype)
    supervised = rows * load.response_tokens / load.rows
    peak += LOGIT_ARRAYS * 4 * min(CHUNK_LOGITS, shape.vocabulary * supervised)
    passes = 3 * run.passes * load.rows / run.rows_per_batch  # a gradient takes as long as two
    beside_s = passes * shape.layers * gpu.layer_s
    again = 2 * shape.body * seen.read_tokens * slots if memory.checkpointing else 0
    gpu_s = gpu.compute_s(flops + attention + again, dtype) + beside_s
    return Cost(flops, attention, peak, 0, gpu_s)


def hidden_state_bytes(shape: Shape, positions: float, dtype: str) -> float:
    """Return the bytes of the hidden states of one layer of the target at a number of positions."""
    return positions * shape.hidden * SIZES[dtype]


def format_seconds(seconds: float) -> str:
    """Return seconds as a duration, such as "5 min"."""
    if seconds < 1:
        return "< 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 1000 else f"{hours / 24:.0f} days"
