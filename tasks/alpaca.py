"""Alpaca: instructions written by a language model, with its answers (Taori et al. 2023).

A row: {"instruction": "Sort the numbers in ascending order.", "input": "3, 1, 2", "output":
"1, 2, 3"}; `input` is empty in 6 rows of 10.

The prompt is one user turn: the instruction, and below it the input if there is one. Stanford's
template ("Below is an instruction ...") was for a model without chat turns. Inputs that say
"Noinput" are kept as published.

Graded by ROUGE-L, as papers on distillation grade instructions (MiniLLM, CSD), with ROUGE-1, -2 and
-Lsum beside it. Rows without an answer to compare with are left out: an empty output, a placeholder
("<nooutput>", "No output ...", or only "<noinput>"), and answers that ROUGE cannot read (emoji,
Morse, Japanese), which any response would fail.
"""

import re
from pathlib import Path

from draftmark.tasks._rouge import grade, is_readable
from draftmark.types import Example, HubData, Row, Task

_PLACEHOLDER = re.compile(r"<?no\s?output|<noinput>$", re.IGNORECASE)


def left_out(row: Row) -> str | None:
    """Return why a row has no answer to compare with, or None if it has one."""
    output = row["output"].strip()
    if not output:
        return "empty output"
    if _PLACEHOLDER.match(output):
        return "placeholder for an output"
    return None if is_readable(output) else "output that ROUGE cannot read"


def to_example(example_id: str, row: Row) -> Example:
    """Return the example of a row; raises ValueError if its input is not text."""
    extra = row.get("input")
    if not isinstance(extra, str):
        raise ValueError("no text in column 'input'")
    asked = f"{row['instruction']}\n\n{extra}" if extra.strip() else row["instruction"]
    return Example(
        id=example_id,
        messages=({"role": "user", "content": asked},),
        reference=row["output"],
    )


TASK = Task(
    name="alpaca",
    version=1,
    hub=HubData(
        path="tatsu-lab/alpaca",
        files="data/{split}-*.parquet",
        revision="dce01c9b08f87459cf36a430d809084718273017",
        # Upstream has one split of 52,002 rows: the last 5 % are for the test, the 5 % before
        # them for validation.
        splits={
            "train": "train[:-5200]",
            "validation": "train[-5200:-2600]",
            "test": "train[-2600:]",
        },
    ),
    samples=Path(__file__).parent / "samples" / "alpaca",
    columns=("instruction", "output"),
    to_example=to_example,
    grade=grade,
    headline="rougeL",
    max_new_tokens=256,
    left_out=left_out,
)
