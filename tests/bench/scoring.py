"""What scoring costs, beside the forward passes it needs and the loops it spares.

Scoring is timed from the target's texts to the expected counts of every block length, 1 to
MAX_GAMMA, at temperature 0 and 1. Writing the texts is no part of it, for they are written once for
all methods and seeds. The loops decode one prompt at a time and are slow: each repeat gives them
`--decoded` prompts, others than the repeat before, and speeds are tokens by seconds.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from draftmark import registry
from draftmark.config.model_sections import DraftInit
from draftmark.data.prompts import encode_prompts
from draftmark.data.rows import load_rows
from draftmark.engines.reference import _Loop
from draftmark.models import hidden_states, supervised_positions
from draftmark.models.draft_inits import make_draft
from draftmark.models.files import end_tokens, resolve_model
from draftmark.models.generation import Sampling, generate
from draftmark.models.language_model import LanguageModel, load_model, load_tokenizer
from draftmark.pipeline.setting import ROWS_PER_BATCH
from draftmark.progress import Progress
from draftmark.speculation.blocks import block_counts
from draftmark.speculation.interfaces import EngineSettings
from draftmark.speculation.language_model_drafter import LanguageModelDrafter
from draftmark.types import GREEDY, MAX_GAMMA, Placement, Prompt, Sampler, Samplers, Text
from tests.bench.frame import Arm, Comparison, timed

SAMPLERS = (GREEDY, Sampler(1.0))
GAMMA = 4  # the block length of the loops that scoring is compared with
SCORING = f"scoring, gamma 1 to {MAX_GAMMA}"
FORWARDS = "the two bare forward passes"
LOOP = "reference loop, gamma {}"
ASSISTED = f"transformers' assisted generation, gamma {GAMMA}"

Texts = Mapping[Sampler, Sequence[Text]]


@dataclass(frozen=True)
class Bench:
    """Two models on the processor, in float32, and what they are asked."""

    target: LanguageModel
    draft: LanguageModel
    prompts: Sequence[Prompt]
    decoded: int  # how many of them the loops decode in a repeat
    end_tokens: frozenset[int]
    max_new_tokens: int


def prepare(told: argparse.Namespace) -> Bench:
    """Load a target, prune its draft and encode the project's own test rows."""
    torch.set_num_threads(told.threads)
    transformers_logging.set_verbosity_error()  # it warns of how it calls itself
    task, directory = (
        registry.find_registered("tasks", "gsm8k"),
        resolve_model(told.model, Progress()),
    )
    target = load_model(directory)
    rows = load_rows(task, "test", told.prompts, sources=["samples"])
    prompts = encode_prompts(load_tokenizer(directory), rows.examples)
    return Bench(
        target=target,
        draft=make_draft(DraftInit(pruned=tuple(told.layers)), target, seed=0),
        prompts=prompts,
        decoded=told.decoded,
        end_tokens=end_tokens(directory),
        max_new_tokens=told.max_new_tokens or task.max_new_tokens,
    )


def write(bench: Bench) -> Texts:
    """Return the target's texts."""
    texts = {}
    with Progress(quiet=True).step("", 0) as step:
        for sampler in SAMPLERS:
            how = Sampling(sampler, bench.max_new_tokens, bench.end_tokens, seed=0)
            texts[sampler] = generate(
                bench.target, bench.prompts, how, rows_per_batch=ROWS_PER_BATCH, step=step
            )
    return texts


def score(bench: Bench, texts: Texts) -> int:
    """Do what a run does from texts to counts; return how many tokens were scored."""
    num_tokens = 0
    for sampler, written in texts.items():
        with tempfile.TemporaryDirectory() as name, Progress(quiet=True).step("", 0) as step:
            hidden_states.write_hidden_states(
                bench.target, written, Path(name), dtype="float32", step=step
            )
            laws = hidden_states.TargetLogits(
                bench.target, hidden_states.StoredHiddenStates.load(Path(name))
            )
            drafter = LanguageModelDrafter(bench.draft)
            tables = list(drafter.score(written, laws, Samplers(sampler, sampler)))
        counts = [block_counts(tables, gamma) for gamma in range(1, MAX_GAMMA + 1)]
        num_tokens += int(counts[0].tokens_B.sum())
    return num_tokens


@torch.no_grad()
def forward(bench: Bench, texts: Texts) -> int:
    """Run both models over the same batches, to the logits of responses and no further."""
    num_tokens = 0
    for written in texts.values():
        for batch in hidden_states.batches_by_length(written):
            for model in (bench.target, bench.draft):
                states_BTD = model.hidden(*supervised_positions.right_padded(batch, model.device))
                logits_NV = model.logits(
                    torch.cat(list(supervised_positions.select_supervised(batch, states_BTD)))
                )
            num_tokens += len(logits_NV)
    return num_tokens


def decode(bench: Bench, gamma: int, prompts: Sequence[Prompt]) -> int:
    """Run the reference loop with every sampler; return how many tokens it wrote."""
    num_tokens = 0
    for sampler in SAMPLERS:
        settings = EngineSettings(
            samplers=Samplers(sampler, sampler),
            num_speculative_tokens=gamma,
            max_new_tokens=bench.max_new_tokens,
            end_tokens=bench.end_tokens,
            seed=0,
            placement=Placement(),
        )
        loop = _Loop(bench.target, LanguageModelDrafter(bench.draft), settings)
        num_tokens += sum(len(item.token_ids) for item in loop.generate(prompts))
    return num_tokens


def assist(bench: Bench, prompts: Sequence[Prompt]) -> int:
    """Run transformers' assisted generation with every sampler; return how many tokens it wrote."""
    # It reads these of the draft alone, and would stop blocks early where the draft is unsure.
    told = bench.draft.model.generation_config
    told.num_assistant_tokens, told.num_assistant_tokens_schedule = GAMMA, "constant"
    told.assistant_confidence_threshold = 0.0
    num_tokens = 0
    for sampler in SAMPLERS:
        sampled = {"do_sample": True, "temperature": sampler.temperature, "top_k": 0, "top_p": 1.0}
        for prompt in prompts:
            ids_BT = torch.tensor([prompt.token_ids])
            written_BT = bench.target.model.generate(
                ids_BT,
                attention_mask=torch.ones_like(ids_BT),
                assistant_model=bench.draft.model,
                max_new_tokens=bench.max_new_tokens,
                **(sampled if sampler.temperature else {"do_sample": False}),
            )
            num_tokens += written_BT.shape[1] - ids_BT.shape[1]
    return num_tokens


def arms(told: argparse.Namespace) -> Mapping[str, Arm]:
    """Return scoring, the passes it needs and the loops it spares; each has run once."""
    bench = prepare(told)
    texts = write(bench)
    loops = {LOOP.format(gamma): partial(decode, bench, gamma) for gamma in told.gammas}
    loops[ASSISTED] = partial(assist, bench)
    whole = {SCORING: partial(score, bench, texts), FORWARDS: partial(forward, bench, texts)}
    for work in whole.values():
        work()
    for loop in loops.values():
        loop(bench.prompts[:1])
    found = {name: timed(work) for name, work in whole.items()}
    return found | {name: on_other_prompts(bench, loop) for name, loop in loops.items()}


def on_other_prompts(bench: Bench, loop: Any) -> Arm:
    """Return an arm that runs a loop over other prompts in each repeat."""

    def arm(repeat: int) -> Any:
        first = repeat * bench.decoded % len(bench.prompts)
        return timed(lambda: loop(bench.prompts[first : first + bench.decoded]))(repeat)

    return arm


def comparisons(words: Sequence[str] = ()) -> list[Comparison]:
    """Return the comparison of scoring, with options as words."""
    told = options().parse_args(words)
    facts = {"dtype": "float32", "clock": "seconds", **vars(told)}
    goals = {FORWARDS: 1 / 1.4, LOOP.format(GAMMA): 20.0}
    return [Comparison("scoring", lambda: arms(told), facts, "tokens", speed_goals=goals)]


def options() -> argparse.ArgumentParser:
    """Return what can be chosen."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench scoring", description=__doc__)
    parser.add_argument("--model", default="tiny-target")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 7], help="of the draft")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--decoded", type=int, default=2, help="prompts for the loops, a repeat")
    parser.add_argument("--max-new-tokens", type=int, help="of a text; by default the task's")
    parser.add_argument("--gammas", type=int, nargs="+", default=[GAMMA], help="of the loop")
    return parser
