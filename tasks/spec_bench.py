"""Spec-Bench: 480 prompts of six subtasks for speculative decoding (Xia et al. 2024, 2401.07851).

A row: {"question_id": 241, "category": "summarization", "turns": ["Summarize: ..."], "reference":
["..."]}.

The categories are the six subtasks of the paper, 80 rows each: the eight categories of MT-Bench are
one subtask, `mt_bench`, as in the authors' evaluation (https://github.com/hemingkx/Spec-Bench at
132ba4c, evaluation/speed.py). Answers are not graded. The hub has no data set of the authors: the
rows come from their file question.jsonl, as DIR/spec_bench/test.jsonl or by `[rows.spec_bench]`.
"""

# In short: Spec-Bench: 480 prompts of six subtasks.

from pathlib import Path

from draftmark.data.prompt_formats import category_of, conversation_examples, format_of
from draftmark.tasks.mt_bench import CATEGORIES
from draftmark.types import Example, Row, Task


def to_example(example_id: str, row: Row) -> tuple[Example, ...]:
    """Return the examples of a row's turns; raises ValueError if the row is malformed."""
    category = category_of(row)
    subtask = "mt_bench" if category in CATEGORIES else category
    return conversation_examples(example_id, row, subtask)


TASK = Task(
    name="spec_bench",
    version=1,
    samples=Path(__file__).parent / "samples" / "spec_bench",
    columns=("category",),
    list_columns=("turns",),
    to_example=to_example,
    format_of=format_of,
    max_new_tokens=1024,  # the authors' limit of a turn
)
