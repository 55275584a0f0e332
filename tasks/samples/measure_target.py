"""Measures `tiny-target/` on the sample test rows; run as `python -m tasks.samples.measure_target`.

Greedy and temperature-1 exact match of the final number, response length, entropy per token.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.samples import generate
from tasks.samples.build_target import FOLDER
from tasks.samples.tiny_tokenizer import prompt_text

LONGEST = 160


@dataclass(frozen=True)
class Figures:
    """One decoding of all rows; lengths in tokens with the end token, entropy in nats."""

    exact: float
    ended: float
    length: float
    entropy: float


def measure(model: Any, *, tokenizer: Any, rows: list[dict[str, str]], sample: bool) -> Figures:
    """Decode every row in one left-padded batch, greedily or at temperature 1."""
    prompts = [prompt_text(row["question"], tokenizer=tokenizer) for row in rows]
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
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
    pairs = zip(texts, rows, strict=True)
    return Figures(
        exact=sum(final(text) == final(row["answer"]) for text, row in pairs) / len(rows),
        ended=(answers == tokenizer.eos_token_id).any(dim=1).float().mean().item(),
        length=kept.sum().item() / len(rows),
        entropy=entropies[kept].mean().item(),
    )


def final(answer: str) -> str:
    """What stands after `####`."""
    return answer.rpartition("####")[2].strip()


def main() -> None:
    """Print both figures."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    for sample in (False, True):
        print(measure(model, tokenizer=tokenizer, rows=generate.read("test"), sample=sample))


if __name__ == "__main__":
    main()
