"""MT-Bench: 80 questions of two turns in eight categories (Zheng et al. 2023, arXiv 2306.05685).

A row: {"question_id": 81, "category": "writing", "turns": ["Compose an engaging travel blog post
about a recent trip to Hawaii ...", "Rewrite your previous response ..."], "reference": [...]}; the
hub's data set names the turns "prompt".

The second turn follows the target's own answer to the first. Answers are not graded: MT-Bench's
grade is a judge's, which a recipe asks with [evaluation.judge]. In a data folder the questions are
read from Spec-Bench's file, whose first 80 rows they are.
"""

from pathlib import Path

from draftmark.data.prompt_formats import conversation_examples, format_of
from draftmark.types import HubData, Row, Task

CATEGORIES = (
    *("writing", "roleplay", "reasoning", "math"),
    *("coding", "extraction", "stem", "humanities"),
)


def left_out(row: Row) -> str | None:
    """Return why a row is not of MT-Bench, or None if it is."""
    return None if row["category"] in CATEGORIES else "of another benchmark"


TASK = Task(
    name="mt_bench",
    version=1,
    hub=HubData(
        path="HuggingFaceH4/mt_bench_prompts",
        files="data/{split}-*.parquet",
        revision="e3a795c5e9a82ee40611c416b8a7786c73198991",
        splits={"test": "train"},  # upstream's only split
    ),
    samples=Path(__file__).parent / "samples" / "mt_bench",
    columns=("category",),
    to_example=conversation_examples,
    format_of=format_of,
    max_new_tokens=1024,  # FastChat's limit of a turn in MT-Bench
    left_out=left_out,
    folder="spec_bench",
)
