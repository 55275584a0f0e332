"""Dolly: instructions and answers written by people, in eight categories (databricks-dolly-15k).

A row: {"instruction": "When does the ferry leave?", "context": "The ferry to Lunden leaves at 7:40
...", "response": "The ferry to Lunden leaves at 7:40.", "category": "closed_qa"}; `context` is
empty in most rows.

The prompt is one user turn: the instruction, and below it the context if there is one. The style
"minillm" is the prompt of MiniLLM (Gu et al. 2024, arXiv 2306.08543) and of CSD, whose data
processing is MiniLLM's: `minillm/tools/process_data_dolly.py` at c994e3d, in
https://github.com/microsoft/LMOps.

Graded by ROUGE-L as there: the F-measure of `rouge_score` with Porter's stemmer.

That code leaves out prompts of more than 256 tokens and cuts prompt and answer after 512. Here the
row decides, whatever the tokenizer: prompts of more than 1,000 characters and answers of more than
2,000 are left out, which is about as long, and answers that ROUGE cannot read.
"""

# In short: Dolly: instructions and answers of people, in eight categories.

from dataclasses import replace
from pathlib import Path

from draftmark.data.prompt_formats import category_of
from draftmark.tasks._rouge import grade, is_readable
from draftmark.types import Example, HubData, Row, Task

MAX_PROMPT, MAX_ANSWER = 1000, 2000  # characters
_TASK = "Below is an instruction that describes a task"
_ASK = "Write a response that appropriately completes the request."


def left_out(row: Row) -> str | None:
    """Return why a row is not used, or None if it is."""
    if len(_asked(row)) > MAX_PROMPT:
        return f"prompt of more than {MAX_PROMPT} characters"
    if len(row["response"]) > MAX_ANSWER:
        return f"response of more than {MAX_ANSWER} characters"
    return None if is_readable(row["response"]) else "response that ROUGE cannot read"


def to_example(example_id: str, row: Row) -> Example:
    """Return the example of a row; raises ValueError if its context or category is not text."""
    return Example(
        id=example_id,
        messages=({"role": "user", "content": _asked(row)},),
        reference=row["response"],
        meta={"instruction": row["instruction"], "context": _context(row)},
        category=category_of(row),
    )


def _asked(row: Row) -> str:
    return "\n\n".join(filter(None, (row["instruction"], _context(row))))


def _context(row: Row) -> str:
    """Return a row's context, "" if it has none."""
    context = row.get("context")
    if not isinstance(context, str):
        raise ValueError("no text in column 'context'")
    return context if context.strip() else ""


def as_minillm(example: Example) -> Example:
    """Return the example with MiniLLM's prompt, which is Alpaca's of base models.

    MiniLLM uses plain text: prompting.format = "plain".
    """
    (turn,), context = example.messages, example.meta["context"]
    paired = ", paired with an input that provides further context" if context else ""
    parts = [f"{_TASK}{paired}. {_ASK}", f"### Instruction:\n{example.meta['instruction']}"]
    parts += [f"### Input:\n{context}"] if context else []
    question = "\n\n".join([*parts, "### Response:\n"])
    return replace(
        example,
        messages=({**turn, "content": question},),
        meta={**example.meta, "question": turn["content"]},
    )


TASK = Task(
    name="dolly",
    version=1,
    hub=HubData(
        path="databricks/databricks-dolly-15k",
        files="databricks-dolly-15k.jsonl",
        revision="bdd27f4d94b9c1f951818a7da7fd7aeea5dbff1a",
        # Upstream has one split of 15,011 rows. CSD's code validates on 1,000 of them and tests on
        # 500; these slices hold more, because some rows are left out.
        splits={
            "train": "train[2000:]",
            "validation": "train[:1300]",
            "test": "train[1300:2000]",
        },
    ),
    samples=Path(__file__).parent / "samples" / "dolly",
    columns=("instruction", "response"),
    to_example=to_example,
    grade=grade,
    headline="rougeL",
    max_new_tokens=256,  # MiniLLM: 512 tokens, of which 256 for the prompt
    left_out=left_out,
    styles={"minillm": as_minillm},
)
