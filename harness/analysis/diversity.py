"""Fidelity and diversity of several sampled responses to each prompt.

Fidelity is the task's headline score. Diversity is distinct-n (Li et al. 2016, 1510.03055) and
Self-BLEU (Zhu et al. 2018, Texygen, 1802.01886; higher is less diverse), each within a prompt.
N-gram counts are pooled over prompts, then divided; scores are averaged. Words are split at spaces
and keep their case, so no tokenizer matters. pass@k is for tasks with right and wrong answers.

Legend: B prompt.
"""

from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

import numpy as np

from draftmark.store.acceptance_tables import Floats

DEFINITIONS = {
    "fidelity": "mean over a prompt's responses",
    "distinct_1": "different words / words in a prompt's responses",
    "distinct_2": "different pairs of neighbouring words / such pairs in a prompt's responses",
    "self_bleu": "BLEU-4 of a response against the others to its prompt, mean over them; higher is "
    "less diverse",
    "pass@": "probability that one or more of {k} responses pass, by the unbiased estimate of {n}",
}
_ORDER = 4


def fidelity_and_diversity(
    rows: Sequence[Mapping[str, Any]], headline: str, *, pass_or_fail: bool
) -> dict[str, tuple[Floats, Floats, str]]:
    """Return each number as its numerators [B], denominators [B] and definition.

    `rows` are responses, two or more per prompt. Without a headline score (""), there is no
    fidelity. Raises ValueError if `rows` is empty.
    """
    if not rows:
        raise ValueError("diversity needs responses, got none")
    groups = by_prompt(rows).values()
    texts = [[row["text"] for row in group] for group in groups]
    scores = [[float(row[headline]) for row in group] for group in groups] if headline else []
    ones_B = np.ones(len(texts))
    found: dict[str, tuple[Floats, Floats, str]] = {}
    if headline:
        means_B = np.array([np.mean(each) for each in scores])
        found["fidelity"] = means_B, ones_B, f"{headline}, {DEFINITIONS['fidelity']}"
    for n in (1, 2):
        name = f"distinct_{n}"
        counts = np.array([distinct_n(each, n) for each in texts], dtype=np.float64)
        found[name] = counts[:, 0], counts[:, 1], DEFINITIONS[name]
    bleu_B = np.array([self_bleu(each) for each in texts])
    found["self_bleu"] = bleu_B, ones_B, DEFINITIONS["self_bleu"]
    if pass_or_fail:  # pass@k for k = 1, 2, 4 ... and for all of a prompt's responses
        n = min(map(len, scores))
        for k in sorted({n, *(2**power for power in range(n.bit_length()))}):
            passed_B = np.array([pass_at_k(len(each), round(sum(each)), k) for each in scores])
            found[f"pass@{k}"] = passed_B, ones_B, DEFINITIONS["pass@"].format(k=k, n=n)
    return found


def by_prompt(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the rows grouped by prompt, in order."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["example_id"], []).append(row)
    return groups


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Return the unbiased estimate that one of k samples passes (Chen et al. 2021, equation 1).

    1 - C(n - c, k) / C(n, k) for c of n samples passed (arXiv 2107.03374). Raises ValueError
    unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= passed <= samples and 1 <= k <= samples):
        raise ValueError(f"pass@{k} of {samples} samples, {passed} passed, is not defined")
    return 1 - comb(samples - passed, k) / comb(samples, k)


def distinct_n(texts: Sequence[str], n: int) -> tuple[int, int]:
    """Return (different n-grams, all n-grams) of texts; no n-gram spans two texts.

    distinct-n is their ratio. The denominator counts n-grams, as in later work; Li et al. divide
    by the number of words, n - 1 more per text.
    """
    grams = [
        tuple(words[start : start + n])
        for words in map(str.split, texts)
        for start in range(len(words) - n + 1)
    ]
    return len(set(grams)), len(grams)


def self_bleu(texts: Sequence[str]) -> float:
    """Return the mean BLEU-4 (0..1) of each text against all others as references.

    Weights are uniform and smoothing is NLTK's method 1, as in Texygen. A text of fewer than four
    words uses n-grams up to its length, so equal texts score 1; so do two empty texts. Raises
    ValueError for fewer than two texts.
    """
    if len(texts) < 2:
        raise ValueError(f"Self-BLEU needs two texts or more, got {len(texts)}")
    words = [text.split() for text in texts]
    scores = [_bleu(words[:i] + words[i + 1 :], text) for i, text in enumerate(words)]
    return sum(scores) / len(scores)


def _bleu(references: Sequence[list[str]], hypothesis: list[str]) -> float:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu  # a second to import

    if not hypothesis:
        return float([] in references)
    order = min(_ORDER, len(hypothesis))
    weights = (1 / order,) * order
    smoothing: Any = SmoothingFunction().method1
    return float(sentence_bleu(references, hypothesis, weights, smoothing_function=smoothing))
