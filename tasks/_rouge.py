"""ROUGE (Lin 2004) as the `rouge_score` package computes it: the grade of free text.

F-measures of ROUGE-1, -2, -L and -Lsum with Porter's stemmer and one reference. For Lsum a sentence
is a line, in reference and response alike, the default of `rouge_score`; the usual sentence
splitter, NLTK's Punkt, is a model that would have to be downloaded. The package reads only a-z and
0-9, so texts in other scripts have no overlap.
"""

import re
from functools import cache
from typing import Any

from draftmark.grading.thinking import after_thinking
from draftmark.types import Example

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
_READ = re.compile("[a-z0-9]")


def rouge(reference: str, text: str) -> dict[str, float]:
    """Return the F-measure of each of ROUGE_TYPES, in 0..1; 0 where either text has no words."""
    scores = _scorer().score(reference, text)
    return {name: float(scores[name].fmeasure) for name in ROUGE_TYPES}


def grade(example: Example, text: str) -> dict[str, float]:
    """Return ROUGE of what follows the thinking of a response, against the example's reference."""
    return rouge(example.reference, after_thinking(text))


def is_readable(text: str) -> bool:
    """True if a text has a character that ROUGE reads."""
    return _READ.search(text.lower()) is not None


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # imports NLTK, which takes a second

    return RougeScorer(ROUGE_TYPES, use_stemmer=True)
