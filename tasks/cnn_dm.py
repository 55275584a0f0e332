"""CNN/DailyMail: news articles and their highlights (Hermann et al. 2015; See et al. 2017).

A row: {"article": "(CNN)As Israeli Prime Minister ... heads to the United States, some former
security leaders ...", "highlights": "Retired general says ...\\nPoll shows ...", "id": "..."}
Highlights are sentences, one per line; the published spacing is kept.

Graded by ROUGE-Lsum, the measure of this data set since See et al. (their ROUGE-L is summary-level,
sentence by sentence). A sentence is a line, so the prompt asks for lines. ROUGE-1, -2 and -L are
beside it.

An article is cut after 800 words. Then, of 1,100 real rows, no prompt has more than 1,300 tokens of
SmolLM2, so each fits a context of 2,048 with its summary, and 7 in 10 articles are whole. Rows
without an article or without highlights are left out.
"""

from pathlib import Path

from draftmark.tasks._rouge import grade
from draftmark.tasks._summaries import ask_for_summary, without_text
from draftmark.types import HubData, Task

MAX_SOURCE_WORDS = 800
INSTRUCTION = (
    "Summarize the news article above in about three short sentences, each on a line of its own."
)


TASK = Task(
    name="cnn_dm",
    version=1,
    hub=HubData(
        path="abisee/cnn_dailymail",
        files="3.0.0/{split}-*.parquet",
        revision="96df5e686bee6baa90b8bee7c28b81fa3fa6223d",
        splits={"train": "train", "validation": "validation", "test": "test"},
    ),
    samples=Path(__file__).parent / "samples" / "cnn_dm",
    columns=("article", "highlights"),
    to_example=ask_for_summary("article", "highlights", INSTRUCTION, MAX_SOURCE_WORDS),
    grade=grade,
    headline="rougeLsum",
    max_new_tokens=128,
    stop=("\n\n",),
    left_out=without_text("article", "highlights"),
    folder="cnn_dailymail",
)
