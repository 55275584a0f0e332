"""Measures `tiny-target/` on the sample test rows; run as `python -m tasks.samples.measure_target`.

For each task, greedily and at temperature 1: the task's headline score, as it grades; how many
answers end; their mean length; the mean entropy per token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.errors import UserError
from harness.types import Example, Task
from tasks.samples import generate
from tasks.samples.build_target import FOLDER, TASKS
from tasks.samples.tiny_tokenizer import prompt_text

LONGEST = 160


@dataclass(frozen=True)
class Answers:
    """One decoding of all examples; lengths in tokens with the end token, entropy in nats."""

    texts: tuple[str, ...]
    ended: float
    length: float
    entropy: float


def decode(model: Any, *, tokenizer: Any, examples: Sequence[Example], sample: bool) -> Answers:
    """Decode every example in one left-padded batch, greedily or at temperature 1."""
    prompts = [prompt_text(example, tokenizer=tokenizer) for example in examples]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    output = model.generate(
        **inputs,
        do_sample=sample,
        top_k=0 if sample else None,
        max_new_tokens=LONGEST,
        output_logits=True,
        return_dict_in_generate=True,
    )
    answers = output.sequences[:, inputs["input_ids"].shape[1] :]  # [B, T]
    kept = answers != tokenizer.pad_token_id
    logits = torch.stack(output.logits, dim=1).float()  # [B, T, V]
    logs = logits.log_softmax(dim=-1)
    entropies = -(logs.exp() * logs).sum(dim=-1)  # [B, T]
    return Answers(
        texts=tuple(tokenizer.batch_decode(answers, skip_special_tokens=True)),
        ended=(answers == tokenizer.eos_token_id).any(dim=1).float().mean().item(),
        length=kept.sum().item() / len(examples),
        entropy=entropies[kept].mean().item(),
    )


def headline(task: Task, *, examples: Sequence[Example], texts: Sequence[str]) -> str:
    """The mean of the task's headline score, or why it cannot be had on this machine."""
    pairs = zip(examples, texts, strict=True)
    try:
        scores = [task.grade(example, text)[task.headline] for example, text in pairs]
    except UserError as error:
        return f"{task.headline} not measured: {error}"
    return f"{task.headline} {sum(scores) / len(scores):.3f}"


def main() -> None:
    """Print a line for each task and decoding."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    for name, task in TASKS.items():
        rows = enumerate(generate.read(name, "test"))
        examples = [task.to_example(f"{name}/test/{index}", row) for index, row in rows]
        for sample in (False, True):
            found = decode(model, tokenizer=tokenizer, examples=examples, sample=sample)
            print(
                f"{name}, {'temperature 1' if sample else 'greedy'}: "
                f"{headline(task, examples=examples, texts=found.texts)}, ended {found.ended:.3f}, "
                f"{found.length:.1f} tokens, {found.entropy:.3f} nats a token",
                flush=True,
            )


if __name__ == "__main__":
    main()
