"""GSM8K: grade-school mathematics in words (Cobbe et al. 2021, arXiv 2110.14168).

A row: {"question": "A robe takes 2 bolts of blue fiber and half that much white fiber. How many
bolts in total does it take?", "answer": "It takes 2/2=<<2/2=1>>1 bolt of white fiber\\nSo the total
amount of fabric is 2+1=<<2+1=3>>3 bolts of fabric\\n#### 3"}

Graded by exact match on the number after "####", extracted as the authors' evaluation does
(https://github.com/openai/grade-school-math at 3101c7d, grade_school_math/dataset.py). Beside it,
for models that end in another way, `flexible_match` compares the last number of the response, as
"flexible-extract" of lm-evaluation-harness does (at 4e7e0d4, lm_eval/tasks/gsm8k/gsm8k.yaml), with
its oddities: "..." counts as a number.
"""

import re
from dataclasses import replace
from pathlib import Path

from draftmark.grading.thinking import after_thinking
from draftmark.types import Example, HubData, Row, Task

# `ANS_RE` of the published evaluation, which takes the first match.
_ANSWER = re.compile(r"#### (\-?[0-9\.\,]+)")
# `regex_pattern` of "flexible-extract", and `regexes_to_ignore`, removed in this order.
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_ADASPEC = "Answer the above question. First think step by step and then answer the final number."
_IGNORED = (",", r"\$", r"(?s).*#### ", r"\.$")


def extract_answer(text: str) -> str | None:
    """Return the final number of a response without thousands separators, or None."""
    match = _ANSWER.search(text)
    return match.group(1).strip().replace(",", "") if match else None


def extract_last_number(text: str) -> str | None:
    """Return the last number of a response as lm-evaluation-harness compares it, or None."""
    found = [match.group() for match in _FLEXIBLE.finditer(text)]
    return _comparable(found[-1]) if found else None


def _comparable(text: str) -> str:
    for ignored in _IGNORED:
        text = re.sub(ignored, "", text)
    return text.lower()


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


def _as_published(example: Example, text: str) -> str:
    """Return a text with upstream's marker of the final number."""
    marker = example.meta.get("marker")
    return re.sub(re.escape(marker) + r"\s*", "#### ", text) if marker else text


def grade(example: Example, text: str) -> dict[str, float]:
    """Return exact_match, flexible_match (see above), and answered (a number after "####")."""
    text = after_thinking(text)
    final = extract_answer(_as_published(example, text))
    gold = _as_published(example, example.reference)
    return {
        "exact_match": float(final == example.meta["final"]),
        "flexible_match": float(extract_last_number(text) == _comparable(gold)),
        "answered": float(final is not None),
    }


def as_adaspec(example: Example) -> Example:
    """Return the example with AdaSPEC's prompt and answer.

    Hu et al. 2025 (arXiv 2510.19779); https://github.com/yuezhouhu/adaspec at 30e4209, utils.py:
    an instruction follows the question, and words replace the "####" before the final number.
    AdaSPEC uses plain text: prompting.format = "plain".
    """
    marker = "The final answer is:"
    (turn,) = example.messages
    question = f"{turn['content']}\n{_ADASPEC}\n"
    return replace(
        example,
        messages=({**turn, "content": question},),
        reference=example.reference.replace("####", f"{marker} "),
        meta={**example.meta, "marker": marker, "question": turn["content"]},
    )


TASK = Task(
    name="gsm8k",
    version=2,
    hub=HubData(
        path="openai/gsm8k",
        files="main/{split}-*.parquet",
        revision="cc7b047b6e5bb11b4f1af84efc572db110a51b3c",
        # Upstream has no validation split: the last 300 training rows are held out.
        splits={"train": "train[:-300]", "validation": "train[-300:]", "test": "test"},
    ),
    samples=Path(__file__).parent / "samples" / "gsm8k",
    columns=("question", "answer"),
    to_example=to_example,
    grade=grade,
    headline="exact_match",
    pass_or_fail=True,
    outcomes={"answered": "it has the mark of a final number and a number after it"},
    max_new_tokens=256,
    stop=("\n\n",),  # 4 of 8,473 gold answers hold an empty line
    styles={"adaspec": as_adaspec},
)
