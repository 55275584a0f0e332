"""How near to plain matrix products a machine comes in reading, training and writing.

A plan takes a GPU to reach a share of its data sheet's FLOP/s. What draftmark's own code reaches of
the machine's matrix products is measured here, by the plan's own FLOPs: on a processor in its
process's time, which other work does not count in; on a GPU in seconds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from draftmark import environment
from draftmark.config.model_sections import DraftInit
from draftmark.models import hidden_states, shapes
from draftmark.models.generation import Sampling, generate
from draftmark.models.spread import pick_device
from draftmark.pipeline.planning import estimates
from draftmark.pipeline.planning.estimates import Load, find_gpu
from draftmark.progress import silent_step
from draftmark.types import GREEDY, Prompt, TrainingRun
from tests.bench.training import Bench, ours, prepare, read_once

ANY = find_gpu("h100")  # of its costs only the FLOPs are used
SIDE = 2048  # of the square matrices


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


def products() -> float:
    """Return the FLOP/s of products of large square matrices in float32."""
    a = torch.randn(SIDE, SIDE, device=pick_device())
    torch.mm(a, a)
    return 5 * 2 * SIDE**3 / seconds(lambda: [torch.mm(a, a) for _ in range(5)])


def rates(bench: Bench, told: argparse.Namespace) -> dict[str, tuple[float, float, float]]:
    """Return tokens, FLOPs and seconds of each kind of work."""
    target = shapes.model_shape("", bench.directory)
    init, config = DraftInit(pruned=tuple(told.layers)), shapes.model_config("", bench.directory)
    draft = shapes.draft_shape(init, target, None, config)
    prompts = [Prompt(text.example_id, text.prompt_ids) for text in bench.texts]
    asked = float(sum(len(prompt.token_ids) for prompt in prompts))
    gold = Load(len(prompts), asked, sum(len(text.response_ids) for text in bench.texts))
    written = Load(len(prompts), asked, told.max_new_tokens * len(prompts))
    sampling = Sampling(GREEDY, told.max_new_tokens, frozenset(), 0)
    rows = len(prompts)
    found = {}
    took = seconds(lambda: generate(bench.target, prompts, sampling, rows_per_batch=rows))
    wrote = estimates.forward_cost(target, written, ANY)
    found["writing, all rows at once"] = (written.response_tokens, wrote.total_flops, took)
    with tempfile.TemporaryDirectory() as name:
        read = estimates.forward_cost(target, gold, ANY, head=False)

        def reading() -> None:
            hidden_states.write_hidden_states(
                bench.target, bench.texts, Path(name), dtype="float32", step=silent_step()
            )

        found["reading"] = (gold.read_tokens, read.total_flops, seconds(reading))
        source = read_once(bench, Path(name) / "features")
    course = TrainingRun(bench.settings.passes, bench.settings.rows_per_batch)
    trained = estimates.training_cost(
        draft, gold, course, ANY, dtype="float32", target_head=target.head
    )
    took = seconds(lambda: ours(bench, "kd", source))
    found["training"] = (gold.read_tokens * course.passes, trained.total_flops, took)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 1, 2, 3], help="of the draft")
    parser.add_argument("--tasks", nargs=1, default=["gsm8k"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--rows-per-batch", type=int, default=8)
    parser.add_argument("--passes", type=float, default=1)
    parser.add_argument("--max-new-tokens", type=int, default=32)
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    bench, most = prepare(told), products()
    here = environment.machine_facts()
    machine = ", ".join(here["accelerators"]) or f"{here['processor']}, {told.threads} thread(s)"
    print(
        f"{told.model} on {machine}: {most / 1e9:.1f} GFLOP/s in products of matrices, float32.\n"
    )
    print("| | tokens/s | GFLOP/s | of plain products |\n|---|---:|---:|---:|")
    for name, (tokens, flops, took) in rates(bench, told).items():
        share = flops / took / most
        print(f"| {name} | {tokens / took:.0f} | {flops / took / 1e9:.2f} | {share:.2f} |")


if __name__ == "__main__":
    main()
