"""What scoring costs, beside the forward passes it needs and the loops it spares.

Scoring is timed from the target's texts to the expected counts of every block length, 1 to
MAX_GAMMA, at temperature 0 and 1. Writing the texts is no part of it, for they are written once for
all methods and seeds; that has a line of its own. All arms run in one process, and their order
turns round with every repeat, so that what else the machine does falls on all alike. The loops
decode one prompt at a time and are slow: they get the first `--decoded` prompts, another share of
them in each repeat, and their time is scaled by the tokens they wrote to those that are scored.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from transformers.utils import logging as transformers_logging

from draftmark import environment, registry
from draftmark.analysis.statistics import log_ratio_interval
from draftmark.config.model_sections import DraftInit
from draftmark.data.prompts import encode_prompts
from draftmark.data.rows import load_rows
from draftmark.engines.reference import _Loop
from draftmark.models import hidden_states
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

SAMPLERS = (GREEDY, Sampler(1.0))
GAMMA = 4  # the block length of the loops that scoring is compared with
SCORING = f"scoring, gamma 1 to {MAX_GAMMA}"
FORWARDS = "the two bare forward passes"
LOOP = "reference loop, gamma {}"
ALL_LOOPS = "reference loop, all of these gammas"
ASSISTED = f"transformers' assisted generation, gamma {GAMMA}"

Texts = Mapping[Sampler, Sequence[Text]]
Arm = Callable[[Sequence[Prompt]], int]  # of the prompts it is given, returns the tokens done
Times = dict[str, list[float]]  # by arm, seconds of each repeat


@dataclass(frozen=True)
class Bench:
    """Two models on the processor, in float32, and what they are asked."""

    target: LanguageModel
    draft: LanguageModel
    prompts: Sequence[Prompt]
    decoded: Sequence[Prompt]  # those of them that loops decode too
    end_tokens: frozenset[int]
    max_new_tokens: int


def prepare(told: argparse.Namespace) -> Bench:
    """Load a target, prune its draft and encode the project's own test rows."""
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
        decoded=prompts[: told.decoded],
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
                states_BTD = model.hidden(*hidden_states.right_padded(batch, model.device))
                logits_NV = model.logits(
                    torch.cat(list(hidden_states.select_supervised(batch, states_BTD)))
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


def measure(arms: Mapping[str, Arm], prompts: Sequence[Prompt], num_tokens: int, n: int) -> Times:
    """Return the seconds that each arm takes for `num_tokens`, n times, after a warm-up."""
    for arm in arms.values():
        arm(prompts[:1])
    times: Times = {name: [] for name in arms}
    order = list(arms)
    for repeat in range(n):
        for name in order:
            started = perf_counter()
            done = arms[name](prompts[repeat::n])
            times[name].append((perf_counter() - started) * num_tokens / done)
        order.reverse()
    return times


def compare(bench: Bench, texts: Texts, gammas: Sequence[int], repeats: int) -> Times:
    """Return the times of all arms, and of the loop at every gamma together."""
    loops = {LOOP.format(gamma): partial(decode, bench, gamma) for gamma in gammas}
    arms: dict[str, Arm] = {
        SCORING: lambda _: score(bench, texts),
        FORWARDS: lambda _: forward(bench, texts),
        **loops,
        ASSISTED: partial(assist, bench),
    }
    num_tokens = sum(len(text.response_ids) for written in texts.values() for text in written)
    times = measure(arms, bench.decoded, num_tokens, repeats)
    times[ALL_LOOPS] = [sum(parts) for parts in zip(*(times[name] for name in loops), strict=True)]
    return times


def report(times: Times) -> str:
    """Return the times in Markdown, each beside that of scoring, and the ratios with a goal."""
    lines = ["| | median, s | least, s | scoring takes 1 |", "|---|---:|---:|---:|"]
    for name, found in times.items():
        spent = f"{median(found):.2f} | {min(found):.2f}"
        lines.append(f"| {name} | {spent} | {_times(times, name, SCORING)} |")
    loop, passes = _times(times, LOOP.format(GAMMA), SCORING), _times(times, SCORING, FORWARDS)
    lines += ["", f"The loop at gamma {GAMMA} / scoring: {loop}; goal: 20 or more."]
    lines += [f"Scoring / its two forward passes: {passes}; goal: 1.4 or less."]
    return "\n".join(lines)


def _times(times: Times, first: str, second: str) -> str:
    """Return how many times as long the first takes, repeat by repeat, with a 95 % interval."""
    pairs = zip(times[first], times[second], strict=True)
    return "{:.3g} [{:.3g}, {:.3g}]".format(*log_ratio_interval([a / b for a, b in pairs]))


def facts(bench: Bench, texts: Texts, written_s: float) -> str:
    """Return what was measured, and where."""
    here = environment.machine_facts()
    layers = [model.model.config.num_hidden_layers for model in (bench.target, bench.draft)]
    num_tokens = sum(len(text.response_ids) for written in texts.values() for text in written)
    return (
        f"{layers[0]} layers, {layers[1]} of them as draft; {len(bench.prompts)} prompts at "
        f"temperature 0 and 1, {num_tokens} tokens, written in {written_s:.1f} s; "
        f"the loops decode {len(bench.decoded)} of them.\n"
        f"{here['processor']}, {here['cores']} cores, {torch.get_num_threads()} thread(s), "
        f"torch {torch.__version__}."
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny-target")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 7], help="of the draft")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--decoded", type=int, default=12, help="prompts for the loops")
    parser.add_argument("--max-new-tokens", type=int, help="of a text; by default the task's")
    parser.add_argument("--gammas", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--repeats", type=int, default=6)
    told = parser.parse_args()
    if not 2 <= told.repeats <= min(told.decoded, told.prompts) or GAMMA not in told.gammas:
        parser.error(f"two repeats or more, a prompt for each, and {GAMMA} among the gammas")
    torch.set_num_threads(told.threads)
    transformers_logging.set_verbosity_error()  # it warns of how it calls itself
    bench = prepare(told)
    started = perf_counter()
    texts = write(bench)
    written_s = perf_counter() - started
    times = compare(bench, texts, told.gammas, told.repeats)
    print(f"{told.model}: {facts(bench, texts, written_s)}\n\n{report(times)}")


if __name__ == "__main__":
    main()
