"""Measures `tiny-target/` on the sample test rows.

Run as `python -m draftmark.tasks.samples.measure_target`.

It decodes each task greedily and at temperature 1, and prints the task's headline score, the share
of answers that end, their mean length, and the mean entropy of a token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from draftmark.errors import UserError
from draftmark.tasks.samples.build_target import FOLDER, TASKS, make_examples
from draftmark.tasks.samples.generate import read_split
from draftmark.tasks.samples.tiny_tokenizer import render_prompt
from draftmark.types import Example, Task

MAX_NEW_TOKENS = 160


@dataclass(frozen=True)
class Answers:
    """One decoding of all examples; lengths in tokens with the end token, entropy in nats."""

    texts: Sequence[str]
    ended: float
    length: float
    entropy: float


def decode_examples(
    examples: Sequence[Example], *, model: Any, tokenizer: Any, sample: bool
) -> Answers:
    """Decode all examples in one left-padded batch, greedily or at temperature 1."""
    prompts = [render_prompt(example, tokenizer=tokenizer) for example in examples]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    output = model.generate(
        **inputs,
        do_sample=sample,
        top_k=0 if sample else None,
        max_new_tokens=MAX_NEW_TOKENS,
        output_logits=True,
        return_dict_in_generate=True,
    )
    answers = output.sequences[:, inputs["input_ids"].shape[1] :]  # [B, T]
    kept = answers != tokenizer.pad_token_id
    logs = torch.stack(output.logits, dim=1).float().log_softmax(dim=-1)  # [B, T, V]
    entropies = -(logs.exp() * logs).sum(dim=-1)  # [B, T]
    return Answers(
        texts=tokenizer.batch_decode(answers, skip_special_tokens=True),
        ended=(answers == tokenizer.eos_token_id).any(dim=1).float().mean().item(),
        length=kept.sum().item() / len(examples),
        entropy=entropies[kept].mean().item(),
    )


def describe_score(task: Task, *, examples: Sequence[Example], texts: Sequence[str]) -> str:
    """Return the mean headline score, or why this machine cannot measure it."""
    pairs, grade = zip(examples, texts, strict=True), task.grade
    assert grade is not None
    try:
        scores = [grade(example, text)[task.headline] for example, text in pairs]
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
        examples = make_examples(name, read_split(name, "test"))
        for decoding in ("greedy", "temperature 1"):
            sample = decoding != "greedy"
            found = decode_examples(examples, model=model, tokenizer=tokenizer, sample=sample)
            score = describe_score(task, examples=examples, texts=found.texts)
            figures = f"{found.length:.1f} tokens, {found.entropy:.3f} nats a token"
            print(f"{name}, {decoding}: {score}, ended {found.ended:.3f}, {figures}", flush=True)


if __name__ == "__main__":
    main()
