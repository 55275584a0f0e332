"""Prompts: any file or data set of prompts, without reference answers.

A row of one of four formats (see `draftmark.data.prompt_formats`), each with an optional
"category": {"messages": [{"role": "user", "content": "What is a draft?"}]}, {"conversations":
[{"from": "human", "value": "What is a draft?"}]}, {"turns": ["What is a draft?", "Why?"]} or
{"prompt": "What is a draft?"}. A line of a text file is a prompt.

The recipe names the rows: `[rows.prompts] file = "questions.jsonl"`. Answers are not graded. The
questions of a row are asked one after the other, with the target's own answers between.
"""

# In short: Prompts: any file or data set of prompts, without references.

from pathlib import Path

from draftmark.data.prompt_formats import conversation_examples, format_of
from draftmark.types import Task

TASK = Task(
    name="prompts",
    version=1,
    samples=Path(__file__).parent / "samples" / "prompts",
    to_example=conversation_examples,
    format_of=format_of,
    max_new_tokens=256,
)
