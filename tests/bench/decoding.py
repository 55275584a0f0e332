"""How fast draftmark writes responses beside transformers' `generate`: the same prompts and tokens.

Both write greedily, in float32, a fixed number of tokens to every prompt of a batch, so neither
gains from rows that end early. A repeat fails if their tokens differ. Time is processor time of the
process, which other work on the machine does not count in.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path
from time import process_time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from draftmark import registry
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
from tests.bench.frame import Arm, Comparison, timed

OTHER, GOAL = "transformers' generate", 0.9
LENGTHS = {"short": 40, "long": 500}  # tokens of the longest prompt
# Models, and the most prompt tokens of a batch for which there is time.
MODELS = {"tiny-target": 20_000, "smollm2-135m-instruct": 5_000}
LARGEST = 20_000  # of other models
Tokens = list[tuple[int, ...]]


@dataclass(frozen=True)
class Models:
    """A model as draftmark loads it, and as transformers does."""

    directory: Path
    mine: LanguageModel
    its: Any


@cache
def load(name: str) -> Models:
    """Return a model by its name; a second call returns the same."""
    directory = resolve_model(name, Progress(quiet=True))
    its = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    its.generation_config = GenerationConfig()
    return Models(directory, load_model(directory), its)


def cut_prompts(directory: Path, kind: str, number: int) -> list[Prompt]:
    """Return texts of cnn_dm, one after the other, cut into prompts.

    The prompts have between three quarters of the length of their kind and that length.
    """
    rows = load_rows(registry.find_registered("tasks", "cnn_dm"), "test", 64, sources=["samples"])
    texts = encode_prompts(load_tokenizer(directory), rows.examples)
    ids = list(chain.from_iterable(text.token_ids for text in texts))
    longest = LENGTHS[kind]
    lengths = [longest - index % 4 * longest // 12 for index in range(number)]
    starts = [index * longest % (len(ids) - longest) for index in range(number)]
    return [
        Prompt(f"{index}", tuple(ids[start : start + length]))
        for index, (start, length) in enumerate(zip(starts, lengths, strict=True))
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


def arms(name: str, kind: str, batch: int, told: argparse.Namespace) -> Mapping[str, Arm]:
    """Return both arms; each has written a few tokens to one prompt."""
    torch.set_num_threads(told.threads)
    models = load(name)
    prompts = cut_prompts(models.directory, kind, batch)
    expected: Tokens = []

    def arm(write: Callable[..., Tokens]) -> Arm:
        write(models, prompts[:1], 2)

        def work() -> int:
            tokens = write(models, prompts, told.max_new_tokens)
            expected.extend(() if expected else tokens)
            if tokens != expected:
                raise RuntimeError(f"{name}, {kind}, batch {batch}: the tokens of both differ")
            return sum(map(len, tokens))

        return timed(work, process_time)

    return {"draftmark": arm(write_mine), OTHER: arm(write_its)}


def comparisons(words: Sequence[str] = ()) -> list[Comparison]:
    """Return a comparison for each model, length of prompts and batch, with options as words."""
    told = options().parse_args(words)
    facts = {"dtype": "float32", "clock": "processor time", **vars(told)}
    return [
        Comparison(
            f"responses, {name}, {kind} prompts, batch {batch}",
            partial(arms, name, kind, batch, told),
            facts,
            "tokens",
            speed_goals={OTHER: GOAL},
        )
        for name in told.models
        for kind in told.prompts
        for batch in told.batches
        if batch * LENGTHS[kind] <= (told.most_tokens or MODELS.get(name, LARGEST))
    ]


def options() -> argparse.ArgumentParser:
    """Return what can be chosen."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench decoding", description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--prompts", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--most-tokens", type=int, help="of a batch's prompts; else by the model")
    return parser
