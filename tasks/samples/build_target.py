"""Builds `tiny-target/`: a small Llama of the project's own, trained on its own rows.

Run as `python -m tasks.samples.build_target [SCRATCH]`; about 40 minutes on one core. With a
scratch folder it keeps a checkpoint there, and goes on from it when it is run again.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from harness.types import Example, Task
from tasks import alpaca, cnn_dm, gsm8k, mbpp, xsum
from tasks.samples import generate
from tasks.samples.tiny_tokenizer import CONTEXT, Encoded, encode, train_tokenizer

TASKS: Mapping[str, Task] = {
    task.TASK.name: task.TASK for task in (gsm8k, alpaca, mbpp, cnn_dm, xsum)
}
FOLDER = Path(__file__).parent / "tiny-target"


@dataclass(frozen=True)
class Recipe:
    """How the target is trained; `question_weight` is the loss weight of the user's turn."""

    rows: Mapping[str, int] = field(
        default_factory=lambda: {
            "gsm8k": 45_000,
            "alpaca": 40_000,
            "mbpp": 20_000,
            "cnn_dm": 14_000,
            "xsum": 12_000,
        }
    )
    batch_tokens: int = 3_000
    steps: int = 4_500  # of one batch each; the rows are enough for more
    rate: float = 5e-3
    embedding_rate: float = 3e-3
    warmup: int = 150
    question_weight: float = 0.1
    tokenizer_rows: int = 2_000  # of each task
    seed: int = 20_260
    threads: int = 1  # matrices this small gain nothing from more
    checkpoint_every: int = 250


@dataclass(frozen=True)
class Batch:
    """Right-padded rows: `ids` [B, T] and the loss weight of predicting each, `weights` [B, T]."""

    ids: torch.Tensor
    weights: torch.Tensor


def training_examples(recipe: Recipe) -> dict[str, list[Example]]:
    """Examples of each task on fresh rows, asked as the task asks them."""
    return {
        name: [
            TASKS[name].to_example(f"{name}/{index}", row)
            for index, row in enumerate(generate.fresh(name, num=num, seed=recipe.seed))
        ]
        for name, num in recipe.rows.items()
    }


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The untrained target: deep and narrow, so that dropping layers makes a cheap draft."""
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
    model.set_attn_implementation("eager")  # its backward pass is far faster on CPU than sdpa's
    return model


def batches(rows: Sequence[Encoded], *, recipe: Recipe, pad: int) -> list[Batch]:
    """All rows once, in batches of random order; those of a batch are alike in length."""
    rng = Random(recipe.seed)
    parts: list[list[Encoded]] = [[]]
    for row in sorted(rows, key=lambda row: (len(row.ids), rng.random())):
        if (len(parts[-1]) + 1) * len(row.ids) > recipe.batch_tokens:
            parts.append([])
        parts[-1].append(row)
    rng.shuffle(parts)
    return [collate(part, question_weight=recipe.question_weight, pad=pad) for part in parts]


def collate(rows: list[Encoded], *, question_weight: float, pad: int) -> Batch:
    """Rows padded on the right; causal attention needs no mask then, padding weighs nothing."""
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), pad)
    weights = torch.zeros(len(rows), width)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        weights[index, : row.prompt] = question_weight
        weights[index, row.prompt : len(row.ids)] = 1.0
    return Batch(ids, weights=weights)


def loss_of(model: LlamaForCausalLM, *, batch: Batch) -> torch.Tensor:
    """Weighted mean cross-entropy of each token given those before it."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(batch.ids[:, :-1], use_cache=False).logits  # [B, T-1, V]
    losses = functional.cross_entropy(
        logits.float().flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none"
    )
    weights = batch.weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


@dataclass(frozen=True)
class Trainer:
    """The model, its optimizers under one-cycle cosine schedules: what a checkpoint holds."""

    model: LlamaForCausalLM
    optimizers: tuple[torch.optim.Optimizer, ...]
    schedules: tuple[torch.optim.lr_scheduler.OneCycleLR, ...]

    def parts(self) -> tuple[Any, ...]:
        """All that has a state."""
        return (self.model, *self.optimizers, *self.schedules)

    def step(self, batch: Batch) -> float:
        """Learn from one batch; returns its loss."""
        loss = loss_of(self.model, batch=batch)
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own is untyped
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
        return loss.item()


def trainer(model: LlamaForCausalLM, *, recipe: Recipe, steps: int) -> Trainer:
    """Muon for the layers' matrices, which learn to copy sooner by it, AdamW for the others."""
    named = dict(model.named_parameters())
    matrices = {name for name, value in named.items() if value.ndim == 2 and "embed" not in name}
    muon = torch.optim.Muon(
        [named[name] for name in named if name in matrices],
        lr=recipe.rate,
        weight_decay=0.05,
        adjust_lr_fn="match_rms_adamw",
    )
    adam = torch.optim.AdamW(
        [named[name] for name in named if name not in matrices],
        lr=recipe.embedding_rate,
        betas=(0.9, 0.98),
        weight_decay=0.0,
    )
    schedules = tuple(
        torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            rate,
            total_steps=steps,
            pct_start=recipe.warmup / steps,
            cycle_momentum=False,
        )
        for optimizer, rate in ((muon, recipe.rate), (adam, recipe.embedding_rate))
    )
    return Trainer(model, (muon, adam), schedules)


def train(state: Trainer, *, steps: list[Batch], recipe: Recipe, checkpoint: Path | None) -> None:
    """One step for each batch, from where the checkpoint stands if there is one."""
    if checkpoint and checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        for part, saved in zip(state.parts(), kept, strict=True):
            part.load_state_dict(saved)
    begin, first = time.perf_counter(), state.schedules[0].last_epoch
    for step, batch in enumerate(steps[first:], start=first + 1):
        loss = state.step(batch)
        if step % 100 == 0:
            took = time.perf_counter() - begin
            print(f"step {step}/{len(steps)} loss {loss:.4f} {took:.0f} s", flush=True)
        if checkpoint and step % recipe.checkpoint_every == 0:
            torch.save([part.state_dict() for part in state.parts()], checkpoint)


def save(model: LlamaForCausalLM, *, tokenizer: PreTrainedTokenizerFast) -> None:
    """The folder `from_pretrained` reads: safetensors in bfloat16, tokenizer, configurations."""
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.to(torch.bfloat16).save_pretrained(FOLDER)
    tokenizer.save_pretrained(FOLDER)


def main(scratch: Path | None = None, recipe: Recipe | None = None) -> None:
    """Tokenizer, model, training, folder."""
    recipe = recipe or Recipe()
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    examples = training_examples(recipe)
    sample = [item for items in examples.values() for item in items[: recipe.tokenizer_rows]]
    tokenizer = train_tokenizer(
        f"user\n{item.messages[-1]['content']}\nassistant\n{item.reference}" for item in sample
    )
    rows = encode([item for items in examples.values() for item in items], tokenizer=tokenizer)
    steps = batches(rows, recipe=recipe, pad=int(tokenizer.pad_token_id))[: recipe.steps]
    model = new_model(tokenizer)
    state = trainer(model, recipe=recipe, steps=len(steps))
    train(state, steps=steps, recipe=recipe, checkpoint=scratch and scratch / "checkpoint.pt")
    save(model, tokenizer=tokenizer)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
