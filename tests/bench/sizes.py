"""What it costs to do without memory, and what an engine gains: draftmark beside itself.

Training: a draft by plain KD on stored states, beside the same with one thing changed, each in a
process of its own: live states, LoRA, layers computed again, two processes with parts of the layers
each. Time is from models loaded to draft trained; memory is that of one process.

Reading: the hidden states of the same texts, by a target that is whole in memory, beside one that
is spread over memory and disk, and by vLLM, which starts for each reading, as for a stage.
Writing: responses by a vLLM that has started, beside draftmark's own loop. Without vLLM, or with
`--without-vllm`, its parts are left out.
"""

import argparse
import json
import resource
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from draftmark.config.lora import Lora
from draftmark.engines._vllm.states import VllmReader
from draftmark.engines._vllm.texts import VllmWriter
from draftmark.models.files import resolve_model
from draftmark.models.generation import Sampling, generate
from draftmark.models.hidden_states import FINAL, num_positions, read_states
from draftmark.models.language_model import load_model
from draftmark.progress import Progress
from draftmark.store.graph import Job
from draftmark.training.batches import LiveTexts
from draftmark.training.launcher import run_shared
from draftmark.training.process_group import ALONE, ProcessGroup
from draftmark.types import GREEDY, Placement, Prompt, Text
from tests.bench import training
from tests.bench.frame import Arm, Comparison, Spent, in_own_process, timed

PLAIN, LIVE, PARTS = "stored states, all weights", "live states", "two processes, in parts"
CHANGES: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {},
    LIVE: {},
    "LoRA of rank 16": {"lora": Lora(rank=16)},
    "layers computed again": {"gradient_checkpointing": True, "rows_at_once": 1},
    PARTS: {"processes": 2, "sharded": True},
}
NEW_TOKENS, AT_ONCE, SPENT = 32, 8, "spent.json"


def train(words: Sequence[str], job: Job, team: ProcessGroup = ALONE) -> None:
    """Train a draft, or a process's share of it; the first process writes what it took."""
    told = options().parse_args(words)
    torch.set_num_threads(max(1, told.threads // team.count))
    bench = training.prepare(told)
    bench = replace(bench, settings=bench.settings.model_copy(update=dict(CHANGES[told.arm])))
    source = LiveTexts(bench.texts, bench.target) if told.arm == LIVE else None
    started = perf_counter()
    training.train_in(job.scratch, bench, source=source, team=team)
    seconds = perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if team.is_first:
        spent = Spent(seconds, bench.num_tokens, peak)
        (job.out / SPENT).write_text(json.dumps(asdict(spent)), encoding="utf-8")


def main() -> None:
    """Train in one way, and print what it took as JSON."""
    from tests.bench import sizes  # processes import this module by its name

    told = options().parse_args()
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / each for each in ("out", "scratch")]
        for folder in folders:
            folder.mkdir()
        job = Job({}, *folders, Progress(quiet=True))
        run_shared(partial(sizes.train, sys.argv[1:]), job, CHANGES[told.arm].get("processes", 1))
        print((job.out / SPENT).read_text("utf-8"))


def comparisons(words: Sequence[str] = ()) -> list[Comparison]:
    """Return the comparisons of trainings and of readings; with vLLM, of responses too."""
    told = options().parse_args(words)
    facts = {
        "clock": "seconds",
        **{name: each for name, each in vars(told).items() if name != "arm"},
    }
    arms = {name: in_own_process("tests.bench.sizes", *words, "--arm", name) for name in CHANGES}
    found = [
        Comparison("a training", lambda: arms, facts, "tokens"),
        Comparison("reading states", partial(readers, told), facts, "tokens"),
    ]
    if _with_vllm(told):
        found.append(Comparison("writing responses", partial(writers, told), facts, "tokens"))
    return found


def readers(told: argparse.Namespace) -> Mapping[str, Arm]:
    """Return what reads the texts: the whole target, a spread one and vLLM."""
    torch.set_num_threads(told.threads)
    directory, texts = resolve_model(told.model, Progress()), training.encoded(told, told.tasks[0])
    tokens = float(sum(map(num_positions, texts)))
    half = f"{sum(each.stat().st_size for each in directory.glob('*.safetensors')) // 2048}KB"
    targets = {
        "whole target": load_model(directory),
        "target half on disk": load_model(directory, Placement(memory=(("cpu", half),))),
    }
    reads = {name: partial(read_states, target) for name, target in targets.items()}
    if _with_vllm(told):
        scratch = Path(tempfile.mkdtemp())
        reader = VllmReader.of_target(directory, Placement(), AT_ONCE, scratch)
        reads["vLLM, with its start"] = reader.read_states

    def arm(read: Any) -> Arm:
        return timed(lambda: tokens * bool(list(read(texts, FINAL, "supervised"))))

    return {name: arm(read) for name, read in reads.items()}


def writers(told: argparse.Namespace) -> Mapping[str, Arm]:
    """Return what writes greedy responses: vLLM, which has started, and draftmark's own loop."""
    torch.set_num_threads(told.threads)
    directory = resolve_model(told.model, Progress())
    texts = training.encoded(told, told.tasks[0])
    prompts = [Prompt(text.example_id, text.prompt_ids) for text in texts]
    sampling = Sampling(GREEDY, NEW_TOKENS, frozenset(), 0)
    target = load_model(directory)
    writer = VllmWriter.of_target(directory, Placement(), len(prompts))
    writer.write(prompts, sampling=sampling)

    def count(written: Sequence[Text]) -> float:
        return float(sum(len(text.response_ids) for text in written))

    return {
        "vLLM": timed(lambda: count(writer.write(prompts, sampling=sampling))),
        "draftmark's own loop": timed(
            lambda: count(generate(target, prompts, sampling, rows_per_batch=len(prompts)))
        ),
    }


def _with_vllm(told: argparse.Namespace) -> bool:
    return find_spec("vllm") is not None and not told.without_vllm


def options() -> argparse.ArgumentParser:
    """Return what can be chosen."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench sizes", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 1, 2, 3], help="of the draft")
    parser.add_argument("--tasks", nargs="+", default=["gsm8k"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "auto"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--rows-per-batch", type=int, default=4)
    parser.add_argument("--passes", type=float, default=2)
    parser.add_argument("--without-vllm", action="store_true")
    parser.add_argument("--arm", choices=CHANGES, default=PLAIN, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
