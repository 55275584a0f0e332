"""How fast draftmark writes responses beside transformers' `generate`: the same prompts and tokens.

Both write greedily, in float32, a fixed number of tokens to every prompt of a batch, so neither
gains from rows that end early. They run in turns, in the opposite order in the next repeat, and
every repeat compares their tokens. Time is processor time of the process, which other work on the
machine does not count in.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from draftmark import environment, registry
from draftmark.analysis.statistics import log_ratio_interval
from draftmark.data.prompts import encode_prompts
from draftmark.data.rows import load_rows
from draftmark.models.files import resolve_model
from draftmark.models.generation import Sampling, generate
from draftmark.models.language_model import (
    LanguageModel,
    load_model,
    load_tokenizer,
    pad_rows,
)
from draftmark.progress import Progress
from draftmark.types import GREEDY, Prompt

GOAL = 0.9
LENGTHS = {"short": ("gsm8k", 40), "long": ("cnn_dm", 500)}  # the task, and tokens of its prompts
HEAD = (
    "| model | prompts | batch | draftmark, tokens/s | generate, tokens/s | times its speed |\n"
    "|---|---|---:|---:|---:|---:|"
)
Tokens = list[tuple[int, ...]]


@dataclass(frozen=True)
class Models:
    """A model as draftmark loads it, and as transformers does."""

    name: str
    directory: Path
    mine: LanguageModel
    its: Any

    @classmethod
    def load(cls, name: str) -> "Models":
        directory = resolve_model(name, Progress(quiet=True))
        its = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
        its.generation_config = GenerationConfig()
        return cls(name, directory, load_model(directory), its.eval())

    def prompts(self, kind: str, number: int) -> list[Prompt]:
        """Return prompts of a task, cut to between three quarters of a length and the length."""
        task, length = LENGTHS[kind]
        rows = load_rows(registry.find_registered("tasks", task), "test", 64, sources=["samples"])
        found = encode_prompts(load_tokenizer(self.directory), rows.examples)
        fitting = [prompt for prompt in found if len(prompt.token_ids) >= length] or found
        chosen = [fitting[index % len(fitting)] for index in range(number)]
        return [
            Prompt(f"{index}", prompt.token_ids[: length - index % 4 * length // 12])
            for index, prompt in enumerate(chosen)
        ]


def write_mine(models: Models, prompts: Sequence[Prompt], num_tokens: int) -> Tokens:
    """Return the tokens that draftmark writes to a batch of prompts."""
    sampling = Sampling(GREEDY, num_tokens, frozenset(), 0)
    texts = generate(models.mine, prompts, sampling, rows_per_batch=len(prompts))
    return [text.response_ids for text in texts]


def write_its(models: Models, prompts: Sequence[Prompt], num_tokens: int) -> Tokens:
    """Return the tokens that transformers' `generate` writes to a batch of prompts."""
    ids_BT, mask_BT = pad_rows([prompt.token_ids for prompt in prompts], models.mine.device, "left")
    padding = range(models.mine.vocab_size, models.its.get_output_embeddings().weight.shape[0])
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=num_tokens,
        pad_token_id=0,
        suppress_tokens=list(padding) or None,
    )
    wrote_BT = models.its.generate(
        input_ids=ids_BT, attention_mask=mask_BT, generation_config=config
    )
    return [tuple(row) for row in wrote_BT[:, ids_BT.shape[1] :].tolist()]


def compare(
    models: Models, prompts: Sequence[Prompt], num_tokens: int, seconds: float
) -> list[tuple[float, float]]:
    """Return the processor seconds of both, repeat by repeat, two or more repeats.

    Raises SystemExit if their tokens differ. A first run of each, of few tokens, is not counted.
    """
    arms = (write_mine, write_its)
    for arm in arms:
        arm(models, prompts, 2)
    found, order = list[tuple[float, float]](), [0, 1]
    deadline = perf_counter() + seconds
    for repeat in count():
        runs = {index: timed(arms[index], models, prompts, num_tokens) for index in order}
        if runs[0][1] != runs[1][1]:
            raise SystemExit(f"{models.name}, batch {len(prompts)}: the tokens differ")
        found.append((runs[0][0], runs[1][0]))
        order.reverse()
        if repeat and perf_counter() > deadline:
            return found
    raise AssertionError


def timed(write: Callable[..., Tokens], *words: Any) -> tuple[float, Tokens]:
    """Return (processor seconds, what a function returns)."""
    started = process_time()
    tokens = write(*words)
    return process_time() - started, tokens


def row(models: Models, kind: str, batch: int, told: argparse.Namespace, seconds: float) -> str:
    """Return a row of the table: both rates, and the ratio with its 95 % interval."""
    prompts = models.prompts(kind, batch)
    spent = compare(models, prompts, told.max_new_tokens, seconds)
    mine, its = (batch * told.max_new_tokens / median(part) for part in zip(*spent, strict=True))
    ratio = "{:.3g} [{:.3g}, {:.3g}]".format(*log_ratio_interval([b / a for a, b in spent]))
    return (
        f"| {models.name} | {kind} | {batch} | {mine:.0f} | {its:.0f} | {ratio} n={len(spent)} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["tiny-target", "smollm2-135m-instruct"])
    parser.add_argument("--prompts", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=4, help="in all, after the models load")
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    here = environment.machine_facts()
    print(
        f"{told.max_new_tokens} tokens to each prompt, float32, greedy; the same tokens checked.\n"
        f"{here['processor']}, {told.threads} thread(s), processor time; goal: {GOAL} or more.\n"
    )
    print(HEAD, flush=True)
    cases = [(kind, batch) for kind in told.prompts for batch in told.batches]
    share = told.minutes * 60 / len(told.models) / len(cases)
    for name in told.models:
        models = Models.load(name)
        for kind, batch in cases:
            print(row(models, kind, batch, told, share), flush=True)


if __name__ == "__main__":
    main()
