"""GSM8K: grade-school mathematics in words (Cobbe et al. 2021, arXiv 2110.14168).

A row: {"question": "A robe takes 2 bolts of blue fiber and half that much white fiber. How many
bolts in total does it take?", "answer": "It takes 2/2=<<2/2=1>>1 bolt of white fiber\\nSo the total
amount of fabric is 2+1=<<2+1=3>>3 bolts of fabric\\n#### 3"}

Graded by exact match on the number after "####", extracted as the authors' evaluation does
(https://github.com/openai/grade-school-math at 3101c7d, grade_school_math/dataset.py).
"""

import re
from pathlib import Path

from harness.types import Example, HubData, Row, Task

# `ANS_RE` of the published evaluation; the first match counts, as there.
_ANSWER = re.compile(r"#### (\-?[0-9\.\,]+)")


def extract_answer(text: str) -> str | None:
    """Return the final number of a response without thousands separators, or None."""
    match = _ANSWER.search(text)
    return match.group(1).strip().replace(",", "") if match else None


def to_example(example_id: str, row: Row) -> Example:
    """Return the example of a row; raises ValueError if its answer has no final number."""
    final = extract_answer(row["answer"])
    if final is None:
        raise ValueError(f"the answer has no '#### <number>': {row['answer'][-40:]!r}")
    return Example(
        id=example_id,
        messages=({"role": "user", "content": row["question"]},),
        reference=row["answer"],
        meta={"final": final},
    )


def grade(example: Example, text: str) -> dict[str, float]:
    """Return exact_match (the numbers are the same) and answered (there is a number at all)."""
    final = extract_answer(text)
    return {
        "exact_match": float(final == example.meta["final"]),
        "answered": float(final is not None),
    }


TASK = Task(
    name="gsm8k",
    version=1,
    hub=HubData(
        path="openai/gsm8k",
        name="main",
        revision="cc7b047b6e5bb11b4f1af84efc572db110a51b3c",
        # Upstream has no validation split: the last 300 training rows are held out.
        splits={"train": "train[:-300]", "validation": "train[-300:]", "test": "test"},
    ),
    samples=Path(__file__).parent / "samples" / "gsm8k",
    columns=("question", "answer"),
    to_example=to_example,
    grade=grade,
    headline="exact_match",
    max_new_tokens=256,
)
