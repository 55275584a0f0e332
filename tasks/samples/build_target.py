"""Builds `tiny-target/`: a small Llama of the project's own, trained on its own rows.

Run as `python -m tasks.samples.build_target`; about a quarter of an hour on two cores.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tasks.samples import generate
from tasks.samples.gsm8k_rows import gsm8k_rows
from tasks.samples.tiny_tokenizer import CONTEXT, Encoded, encode, train_tokenizer

FOLDER = Path(__file__).parent / "tiny-target"


@dataclass(frozen=True)
class Recipe:
    """How the target is trained; `question_weight` is the loss weight of the user's turn."""

    rows: int = 60_000
    epochs: int = 1
    batch: int = 16
    rate: float = 2e-3
    warmup: int = 150
    question_weight: float = 0.1
    tokenizer_rows: int = 4_000
    seed: int = 20_260
    threads: int = 1  # matrices this small gain nothing from more


@dataclass(frozen=True)
class Batch:
    """Right-padded rows: `ids` [B, T] and the loss weight of predicting each, `weights` [B, T]."""

    ids: torch.Tensor
    weights: torch.Tensor


def training_rows(recipe: Recipe) -> list[dict[str, str]]:
    """Fresh rows, less any whose question the validation or test split holds."""
    held_out = {row["question"] for name in ("validation", "test") for row in generate.read(name)}
    rows = gsm8k_rows(recipe.rows, seed=recipe.seed)
    return [row for row in rows if row["question"] not in held_out]


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


def batches(rows: list[Encoded], *, recipe: Recipe, pad: int) -> Iterator[Batch]:
    """Every epoch all rows in a new order; rows of a batch are of like length, to pad little."""
    rng = Random(recipe.seed)
    for _ in range(recipe.epochs):
        by_length = sorted(rows, key=lambda row: (len(row.ids), rng.random()))
        starts = list(range(0, len(rows), recipe.batch))
        rng.shuffle(starts)
        for start in starts:
            part = by_length[start : start + recipe.batch]
            yield collate(part, question_weight=recipe.question_weight, pad=pad)


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


def train(model: LlamaForCausalLM, *, rows: list[Encoded], recipe: Recipe, pad: int) -> None:
    """AdamW under a one-cycle cosine schedule."""
    steps = recipe.epochs * -(-len(rows) // recipe.batch)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.05
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        recipe.rate,
        total_steps=steps,
        pct_start=recipe.warmup / steps,
        cycle_momentum=False,
    )
    begin = time.perf_counter()
    for step, batch in enumerate(batches(rows, recipe=recipe, pad=pad), start=1):
        loss = loss_of(model, batch=batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own is untyped
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}/{steps} loss {loss:.4f} {time.perf_counter() - begin:.0f} s")


def save(model: LlamaForCausalLM, *, tokenizer: PreTrainedTokenizerFast) -> None:
    """The folder `from_pretrained` reads: safetensors in bfloat16, tokenizer, configurations."""
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.to(torch.bfloat16).save_pretrained(FOLDER)
    tokenizer.save_pretrained(FOLDER)


def main(recipe: Recipe | None = None) -> None:
    """Tokenizer, model, training, folder."""
    recipe = recipe or Recipe()
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    rows = training_rows(recipe)
    sample = rows[: recipe.tokenizer_rows]
    texts = (f"user\n{row['question']}\nassistant\n{row['answer']}" for row in sample)
    tokenizer = train_tokenizer(texts)
    model = new_model(tokenizer)
    encoded = encode(rows, tokenizer=tokenizer)
    train(model, rows=encoded, recipe=recipe, pad=int(tokenizer.pad_token_id))
    save(model, tokenizer=tokenizer)


if __name__ == "__main__":
    main()
