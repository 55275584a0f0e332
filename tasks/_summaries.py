"""Shared by the summary tasks: the rule that leaves out rows, and how articles are cut."""

import re
from collections.abc import Callable
from itertools import islice

from draftmark.types import Example, Row

_WORD = re.compile(r"\S+")


def without_text(*columns: str) -> Callable[[Row], str | None]:
    """Return the rule that leaves out rows in which one of the columns has no text."""

    def left_out(row: Row) -> str | None:
        return next((f"empty {column}" for column in columns if not row[column].strip()), None)

    return left_out


def first_words(text: str, max_words: int) -> str:
    """Return the first `max_words` words of a text with their spacing; words have no space."""
    ends = [word.end() for word in islice(_WORD.finditer(text), max_words)]
    return text[: ends[-1]] if ends else ""


def ask_for_summary(
    article: str, summary: str, instruction: str, max_source_words: int
) -> Callable[[str, Row], Example]:
    """Return the function that makes examples of rows with an article and a summary column.

    A prompt is the opening of the article, then the instruction. The example's meta holds the
    number of words of the article and the limit of the opening.
    """

    def to_example(example_id: str, row: Row) -> Example:
        source = first_words(row[article], max_source_words)
        return Example(
            id=example_id,
            messages=({"role": "user", "content": f"{source}\n\n{instruction}"},),
            reference=row[summary],
            meta={"source_words": len(row[article].split()), "max_source_words": max_source_words},
        )

    return to_example
