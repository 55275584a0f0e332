"""ROUGE (Lin 2004) as the `rouge_score` package computes it: the grade of free text.

F-measures of ROUGE-1, -2, -L and -Lsum with Porter's stemmer, one reference. For Lsum a sentence is
a line, in the reference and in the response alike, as `rouge_score` has it by default; no sentence
splitter is applied (the usual one, NLTK's Punkt, is a model to be downloaded). The package reads
a-z and 0-9 only: in any other script there is nothing to overlap.
"""

import re
from functools import cache
from typing import Any

from draftmark.types import Example

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
_READ = re.compile("[a-z0-9]")


def rouge(reference: str, text: str) -> dict[str, float]:
    """Return the F-measure of each of ROUGE_TYPES, in 0..1; 0 where either text has no words."""
    scores = _scorer().score(reference, text)
    return {name: float(scores[name].fmeasure) for name in ROUGE_TYPES}


def grade(example: Example, text: str) -> dict[str, float]:
    """Return ROUGE against the example's reference."""
    return rouge(example.reference, text)


def is_readable(text: str) -> bool:
    """Say whether there is anything in a text that ROUGE reads."""
    return _READ.search(text.lower()) is not None


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # it imports NLTK: a second

    return RougeScorer(ROUGE_TYPES, use_stemmer=True)
