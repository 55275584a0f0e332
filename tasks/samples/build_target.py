"""Builds `tiny-target/`: a small Llama, trained from scratch on generated rows.

Run as `python -m draftmark.tasks.samples.build_target [SCRATCH]`; it takes about 40 minutes on
one core. With a scratch folder it saves checkpoints there, and resumes from the last one.
"""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.optim import AdamW, Muon
from torch.optim.lr_scheduler import OneCycleLR
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from draftmark.tasks import alpaca, cnn_dm, gsm8k, mbpp, xsum
from draftmark.tasks.samples.generate import Row, generate_unseen_rows
from draftmark.tasks.samples.tiny_tokenizer import (
    CONTEXT,
    Encoded,
    encode_examples,
    train_tokenizer,
)
from draftmark.types import Example, Task

FOLDER = Path(__file__).parent / "tiny-target"
TASKS: Mapping[str, Task] = {
    task.TASK.name: task.TASK for task in (gsm8k, alpaca, mbpp, cnn_dm, xsum)
}
NUM_ROWS = {"gsm8k": 45_000, "alpaca": 40_000, "mbpp": 20_000, "cnn_dm": 14_000, "xsum": 12_000}


@dataclass(frozen=True)
class Recipe:
    """How the target is trained."""

    rows: Mapping[str, int] = field(default_factory=lambda: NUM_ROWS)
    batch_tokens: int = 3_000
    steps: int = 4_500  # of one batch each; the rows are enough for more
    rate: float = 5e-3
    embedding_rate: float = 3e-3
    warmup: int = 150
    question_weight: float = 0.1  # of the loss on the user's turn
    tokenizer_rows: int = 2_000  # of each task
    seed: int = 20_260
    threads: int = 1  # matrices this small gain nothing from more
    checkpoint_every: int = 250


@dataclass(frozen=True)
class Batch:
    """Right-padded rows: `ids` [B, T] and the loss weight of each token, `weights` [B, T]."""

    ids: torch.Tensor
    weights: torch.Tensor


def make_examples(task: str, rows: Iterable[Row]) -> list[Example]:
    """Make examples that ask as the task asks."""
    found = [TASKS[task].to_example(f"{task}/{index}", row) for index, row in enumerate(rows)]
    return [example for example in found if isinstance(example, Example)]


def make_training_examples(recipe: Recipe) -> dict[str, list[Example]]:
    """Make examples of each task from rows that are in no held-out split."""
    return {
        task: make_examples(task, generate_unseen_rows(task, num=num, seed=recipe.seed))
        for task, num in recipe.rows.items()
    }


def make_batches(rows: Iterable[Encoded], *, recipe: Recipe, pad: int) -> list[Batch]:
    """Put rows of similar length into batches, and shuffle the batches."""
    rng = Random(recipe.seed)
    parts: list[list[Encoded]] = [[]]
    for row in sorted(rows, key=lambda row: (len(row.ids), rng.random())):
        if (len(parts[-1]) + 1) * len(row.ids) > recipe.batch_tokens:
            parts.append([])
        parts[-1].append(row)
    rng.shuffle(parts)
    return [pad_rows(part, question_weight=recipe.question_weight, pad=pad) for part in parts]


def pad_rows(rows: Sequence[Encoded], *, question_weight: float, pad: int) -> Batch:
    """Pad rows on the right: causal attention needs no mask there, and the loss weight is 0."""
    ids = [torch.tensor(row.ids) for row in rows]
    weights = [torch.ones(len(row.ids)) for row in rows]
    for row, weight in zip(rows, weights, strict=True):
        weight[: row.prompt] = question_weight
    return Batch(
        pad_sequence(ids, batch_first=True, padding_value=pad),
        weights=pad_sequence(weights, batch_first=True),
    )


def compute_loss(model: LlamaForCausalLM, *, batch: Batch) -> torch.Tensor:
    """Return the weighted mean cross-entropy of each token after the first."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(batch.ids[:, :-1], use_cache=False).logits.float()  # [B, T-1, V]
    targets, weights = batch.ids[:, 1:].flatten(), batch.weights[:, 1:].flatten()
    losses = functional.cross_entropy(logits.flatten(0, 1), targets, reduction="none")
    return (losses * weights).sum() / weights.sum()


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Make the untrained target: deep and narrow, so that dropping layers gives a cheap draft."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("eager")  # on a CPU its backward pass is far faster than sdpa's
    return model


def make_schedules(model: LlamaForCausalLM, *, recipe: Recipe, steps: int) -> list[OneCycleLR]:
    """Use Muon for the layers' matrices, which learn to copy sooner with it, AdamW for the rest."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, value in model.named_parameters():
        (matrices if value.ndim == 2 and "embed" not in name else others).append(value)
    muon = Muon(matrices, lr=recipe.rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    adam = AdamW(others, lr=recipe.embedding_rate, betas=(0.9, 0.98), weight_decay=0.0)
    warmup = recipe.warmup / steps
    return [
        OneCycleLR(optimizer, rate, total_steps=steps, pct_start=warmup, cycle_momentum=False)
        for optimizer, rate in ((muon, recipe.rate), (adam, recipe.embedding_rate))
    ]


def train_model(
    model: LlamaForCausalLM,
    *,
    schedules: Sequence[OneCycleLR],
    batches: Sequence[Batch],
    recipe: Recipe,
    checkpoint: Path | None,
) -> None:
    """Train one step on each batch, starting from the checkpoint if it exists."""
    parts: list[Any] = [model, *(schedule.optimizer for schedule in schedules), *schedules]
    if checkpoint and checkpoint.exists():
        states = torch.load(checkpoint, weights_only=True)
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(state)
    begin, first = time.perf_counter(), schedules[0].last_epoch
    for step, batch in enumerate(batches[first:], start=first + 1):
        loss = compute_loss(model, batch=batch)
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for schedule in schedules:
            schedule.optimizer.step()
            schedule.step()
        if step % 100 == 0:
            seconds = time.perf_counter() - begin
            print(f"step {step}/{len(batches)} loss {loss.item():.4f} {seconds:.0f} s", flush=True)
        if checkpoint and step % recipe.checkpoint_every == 0:
            torch.save([part.state_dict() for part in parts], checkpoint)


def save_target(model: LlamaForCausalLM, *, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write the folder that `from_pretrained` reads, with weights in bfloat16."""
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.to(torch.bfloat16).save_pretrained(FOLDER)
    tokenizer.save_pretrained(FOLDER)


def main(scratch: Path | None = None) -> None:
    """Train the tokenizer and the model, and save both."""
    recipe = Recipe()
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    by_task = make_training_examples(recipe).values()
    sample = [example for examples in by_task for example in examples[: recipe.tokenizer_rows]]
    tokenizer = train_tokenizer(
        f"user\n{example.messages[-1]['content']}\nassistant\n{example.reference}"
        for example in sample
    )
    rows = encode_examples([*chain.from_iterable(by_task)], tokenizer=tokenizer)
    batches = make_batches(rows, recipe=recipe, pad=int(tokenizer.pad_token_id))[: recipe.steps]
    model = make_model(tokenizer)
    train_model(
        model,
        schedules=make_schedules(model, recipe=recipe, steps=len(batches)),
        batches=batches,
        recipe=recipe,
        checkpoint=scratch and scratch / "checkpoint.pt",
    )
    save_target(model, tokenizer=tokenizer)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
