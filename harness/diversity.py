"""Fidelity against diversity of a model alone: how good its responses are, and how much they vary.

Of several responses to each prompt, sampled with different seeds. Fidelity is the task's headline
score. Diversity is distinct-n (Li et al. 2016, 1510.03055) and Self-BLEU (Zhu et al. 2018, Texygen,
1802.01886; more is less diverse), each within a prompt: counts of n-grams are pooled over prompts,
then divided; scores are averaged. Words are what spaces separate, case kept: no tokenizer decides.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from harness import statistics
from harness.published import Number
from harness.types import Example, Task

DEFINITIONS = {
    "fidelity": "mean over a prompt's responses",
    "distinct_1": "different words / words in a prompt's responses",
    "distinct_2": "different pairs of neighbouring words / such pairs in a prompt's responses",
    "self_bleu": "BLEU-4 of a response against the others to its prompt, mean over them; higher is "
    "less diverse",
}
_ORDER = 4


def fidelity_and_diversity(
    task: Task, examples: Sequence[Example], responses: Mapping[str, Sequence[str]]
) -> dict[str, Number]:
    """Return each of DEFINITIONS with its interval over prompts.

    `responses`: by example id, two or more each. Raises ValueError without examples, or where no
    prompt has the words that a number counts.
    """
    if not examples:
        raise ValueError("no prompts: there is no diversity of nothing")
    texts = [responses[example.id] for example in examples]
    fidelity = [
        sum(task.grade(example, text)[task.headline] for text in some) / len(some)
        for example, some in zip(examples, texts, strict=True)
    ]
    numbers = {"fidelity": statistics.mean(fidelity, f"{task.headline}, {DEFINITIONS['fidelity']}")}
    for n in (1, 2):
        counts = [_distinct(some, n) for some in texts]
        numbers[f"distinct_{n}"] = statistics.ratio(
            [different for different, _ in counts],
            [total for _, total in counts],
            DEFINITIONS[f"distinct_{n}"],
        )
    scores = [self_bleu(some) for some in texts]
    return {**numbers, "self_bleu": statistics.mean(scores, DEFINITIONS["self_bleu"])}


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Return different n-grams / n-grams of some texts, in (0, 1]; none spans two texts.

    As in later work the denominator counts n-grams; Li et al. divide by words, of which there are
    n - 1 more for each text. Raises ValueError if no text has n words.
    """
    different, total = _distinct(texts, n)
    if not total:
        raise ValueError(f"distinct-{n} of {len(texts)} texts, none of which has {n} words")
    return different / total


def _distinct(texts: Sequence[str], n: int) -> tuple[int, int]:
    """Return how many different n-grams some texts have, and how many in all."""
    grams = [gram for text in texts for gram in _grams(text.split(), n)]
    return len(set(grams)), len(grams)


def self_bleu(texts: Sequence[str]) -> float:
    """Return the mean BLEU-4 of each text with all others as its references, in 0..1.

    As Texygen has it: uniform weights and NLTK's smoothing method 1. A text of fewer than four
    words is compared up to its own length, so that texts that are all the same have 1. Two empty
    texts are the same. Raises ValueError for fewer than two texts.
    """
    if len(texts) < 2:
        raise ValueError(f"Self-BLEU compares texts with each other; there are {len(texts)}")
    words = [text.split() for text in texts]
    scores = [_bleu(words[:i] + words[i + 1 :], one) for i, one in enumerate(words)]
    return sum(scores) / len(scores)


def _bleu(references: Sequence[list[str]], hypothesis: list[str]) -> float:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu  # a second to import

    if not hypothesis:
        return float([] in references)
    order = min(_ORDER, len(hypothesis))
    weights = (1 / order,) * order
    smoothing: Any = SmoothingFunction().method1
    return float(sentence_bleu(references, hypothesis, weights, smoothing_function=smoothing))


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
