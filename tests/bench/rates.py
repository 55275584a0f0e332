"""How near to the roofline a machine comes in reading, training and writing.

The roofline is the time that a work's FLOPs take at the speed of large matrix products, or, if that
is longer, its bytes at the speed of a large copy; both are measured on the machine. FLOPs are the
plan's. Of bytes, the weights that each pass of writing reads are counted. Times are of the process
on a processor, so that other work does not count in, and seconds on a GPU.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from draftmark import environment
from draftmark.config.model_sections import DraftInit
from draftmark.models import hidden_states, shapes
from draftmark.models.generation import Sampling, generate
from draftmark.models.language_model import pick_device
from draftmark.models.shapes import Shape
from draftmark.pipeline.planning import estimates
from draftmark.pipeline.planning.estimates import Load, find_gpu
from draftmark.progress import silent_step
from draftmark.training.batches import FixedTexts
from draftmark.types import GREEDY, Placement, Prompt, Text, TrainingRun
from tests.bench.training import Bench, ours, prepare, read_once

ANY = find_gpu("h100")  # of its costs only the FLOPs are used
SIDE = 2048  # of the square matrices
COPIED = 2**28  # bytes


def seconds(work: Callable[[], Any]) -> float:
    """Return what a work takes, once it is warm."""
    clock = time.process_time
    if torch.cuda.is_available():
        clock = time.perf_counter

    def done() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return clock()

    started = done()
    work()
    return done() - started


@dataclass(frozen=True)
class Machine:
    """What a machine reaches: FLOP/s of large matrix products, bytes/s of a large copy."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Rate:
    """A kind of work: its tokens, the plan's FLOPs, the bytes of weights read, and its seconds."""

    tokens: float
    flops: float
    bytes: float
    seconds: float

    def share(self, machine: Machine) -> float:
        """Return the share of the roofline that the work reaches."""
        return max(self.flops / machine.flops, self.bytes / machine.bytes) / self.seconds


def measure_machine(dtype: str) -> Machine:
    """Return what this machine reaches in a dtype."""
    a = torch.randn(SIDE, SIDE, device=pick_device(), dtype=getattr(torch, dtype))
    b = torch.empty(COPIED, device=pick_device(), dtype=torch.uint8)
    torch.mm(a, a), b.clone()
    products_s = seconds(lambda: [torch.mm(a, a) for _ in range(5)])
    copies_s = seconds(lambda: [b.clone() for _ in range(5)])
    return Machine(5 * 2 * SIDE**3 / products_s, 5 * 2 * COPIED / copies_s)


def rates(bench: Bench, told: argparse.Namespace) -> dict[str, Rate]:
    """Return the rate of each kind of work; in the end the target has no body."""
    target = shapes.model_shape("", bench.directory)
    prompts = [Prompt(text.example_id, text.prompt_ids) for text in bench.texts]
    asked = float(sum(len(prompt.token_ids) for prompt in prompts))
    gold = Load(len(prompts), asked, sum(len(text.response_ids) for text in bench.texts))
    written = Load(len(prompts), asked, told.max_new_tokens * len(prompts))
    found = {"writing, all rows at once": _writing(bench, told, prompts, target, written)}
    with tempfile.TemporaryDirectory() as name:
        found["reading"] = _reading(bench, Path(name), target, gold)
        source = read_once(bench, Path(name) / "features")
    found["training"] = _training(bench, told, source, target, gold)
    return found


def _writing(
    bench: Bench, told: argparse.Namespace, prompts: list[Prompt], target: Shape, load: Load
) -> Rate:
    sampling = Sampling(GREEDY, told.max_new_tokens, frozenset(), 0)
    rows = len(prompts)
    generate(bench.target, prompts[:1], replace(sampling, max_new_tokens=2), rows_per_batch=1)
    took = seconds(lambda: generate(bench.target, prompts, sampling, rows_per_batch=rows))
    flops = estimates.forward_cost(target, load, ANY).total_flops
    read = target.parameters * shapes.SIZES[told.dtype] * told.max_new_tokens
    return Rate(load.response_tokens, flops, read, took)


def _reading(bench: Bench, folder: Path, target: Shape, load: Load) -> Rate:
    def read(texts: Sequence[Text]) -> None:
        hidden_states.write_hidden_states(
            bench.target, texts, folder, dtype="float32", step=silent_step()
        )

    read(bench.texts[:1])  # a first reading loads more than the model
    flops = estimates.forward_cost(target, load, ANY, head=False).total_flops
    return Rate(load.read_tokens, flops, 0, seconds(lambda: read(bench.texts)))


def _training(
    bench: Bench, told: argparse.Namespace, source: FixedTexts, target: Shape, load: Load
) -> Rate:
    init, config = DraftInit(pruned=tuple(told.layers)), shapes.model_config("", bench.directory)
    draft = shapes.draft_shape(init, target, None, config)
    course = TrainingRun(bench.settings.passes, bench.settings.rows_per_batch)
    cost = estimates.training_cost(
        draft, load, course, ANY, dtype=told.dtype, target_head=target.head
    )
    took = seconds(lambda: ours(bench, "kd", source, told.dtype))
    return Rate(load.read_tokens * course.passes, cost.total_flops, 0, took)


def report(told: argparse.Namespace) -> dict[str, Any]:
    """Return what the machine and each kind of work reach, as JSON."""
    machine = measure_machine(told.dtype)
    bench = prepare(told, Placement(pick_device(), told.dtype))
    works = {
        name: {**asdict(rate), "share": rate.share(machine)}
        for name, rate in rates(bench, told).items()
    }
    return {"model": told.model, "dtype": told.dtype, "machine": asdict(machine), "works": works}


def options() -> argparse.ArgumentParser:
    """Return what can be chosen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 1, 2, 3], help="of the draft")
    parser.add_argument("--tasks", nargs=1, default=["gsm8k"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=shapes.SIZES, default="float32")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--rows-per-batch", type=int, default=8)
    parser.add_argument("--passes", type=float, default=1)
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    return parser


def main() -> None:
    """Measure and print."""
    told = options().parse_args()
    torch.set_num_threads(told.threads)
    found = report(told)
    if told.json:
        print(json.dumps(found))
        return
    here = environment.machine_facts()
    machine = ", ".join(here["accelerators"]) or f"{here['processor']}, {told.threads} thread(s)"
    reached = {name: value / 1e9 for name, value in found["machine"].items()}
    print(
        f"{told.model} on {machine}, {told.dtype}: {reached['flops']:.1f} GFLOP/s in products of "
        f"matrices, {reached['bytes']:.1f} GB/s in copies.\n"
    )
    print("| | tokens/s | GFLOP/s | of the roofline |\n|---|---:|---:|---:|")
    for name, work in found["works"].items():
        tokens, flops = (work[each] / work["seconds"] for each in ("tokens", "flops"))
        print(f"| {name} | {tokens:.0f} | {flops / 1e9:.2f} | {work['share']:.2f} |")


if __name__ == "__main__":
    main()
