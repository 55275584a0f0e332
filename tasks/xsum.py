"""XSum: BBC articles and the one sentence that introduces each (Narayan et al. 2018, 1808.08745).

A row: {"document": "The Exiles remain in the League Two relegation zone ...", "summary": "Newport
County's recovery under caretaker manager ...", "id": "..."}

Graded by ROUGE-L: a summary is one sentence, so Lsum has no sentences to match, and the longest
common subsequence respects the order of words, as ROUGE-2 does, without falling to almost zero for
small models. ROUGE-1, -2 and -Lsum are beside it.

A document is cut after 600 words. Some are in Welsh, at up to 2.8 tokens of SmolLM2 a word: of
1,736 real rows, no prompt then has more than 1,700 tokens, so each fits a context of 2,048 with its
summary, and 8 in 10 documents are whole. Rows without a document or without a summary are left out.
"""

from pathlib import Path

from draftmark.tasks._rouge import grade
from draftmark.tasks._summaries import ask_for_summary, without_text
from draftmark.types import HubData, Task

MAX_SOURCE_WORDS = 600
INSTRUCTION = "Summarize the news article above in one sentence."


TASK = Task(
    name="xsum",
    version=1,
    hub=HubData(
        path="EdinburghNLP/xsum",
        files="data/{split}-*.parquet",
        revision="7d4d486c2f8ef850b1a11aead99b894ff3dd7da9",
        splits={"train": "train", "validation": "validation", "test": "test"},
    ),
    samples=Path(__file__).parent / "samples" / "xsum",
    columns=("document", "summary"),
    to_example=ask_for_summary("document", "summary", INSTRUCTION, MAX_SOURCE_WORDS),
    grade=grade,
    headline="rougeL",
    max_new_tokens=64,
    stop=("\n",),
    left_out=without_text("document", "summary"),
)
