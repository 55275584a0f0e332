"""Texts that are cut, empty or repeat themselves, on which acceptance is an artefact.

A text that repeats itself is easy to predict, by a lookup above all, so acceptance on it does not
say how a draft fares on other texts. Repetition is seq-rep-4 of Welleck et al. 2019 (arXiv
1908.04319), the share of 4-grams that occurred before in the text, here of those that end among its
last 128 tokens, since a text that loops ends in its loop.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from draftmark.analysis.quantities import Quantity, quantity_key
from draftmark.results import Finding, Number, Results
from draftmark.types import Text

ORDER, LAST = 4, 128  # tokens
REPEATING = 0.5  # seq-rep-4 above which a text repeats itself
MOST = 0.5  # share of texts above which a warning stands beside every verdict
DEFINITIONS = {
    "repeating_texts": "share of the target's texts that repeat themselves: more than "
    f"{REPEATING:.0%} of the 4-grams of its last {LAST} tokens occurred before in the text "
    "(seq-rep-4, Welleck et al. 2019)",
    "truncated_texts": "share of the target's texts that were cut at the length limit",
    "empty_texts": "share of the target's texts that have nothing but an end token",
}
_WORDS = {
    "repeating_texts": "repeat themselves",
    "truncated_texts": "are cut at the length limit",
    "empty_texts": "are empty",
}
_FACT = "text_artefacts"


def repetition(token_ids: Sequence[int]) -> float:
    """Return seq-rep-4 of the last tokens of a text; 0 for a text without 4-grams."""
    grams = list(zip(*(token_ids[start:] for start in range(ORDER)), strict=False))
    last = grams[-(LAST - ORDER + 1) :]
    before = set(grams[: len(grams) - len(last)])
    return 1 - len(set(last) - before) / len(last) if last else 0.0


def text_quantities(texts: Mapping[float, Sequence[Text]]) -> dict[str, Quantity]:
    """Return the share of each kind of artefact among the texts of each temperature."""
    found = {}
    for temperature, written in texts.items():
        prompts, ones_B = tuple(text.example_id for text in written), np.ones(len(written))
        kinds = {
            "repeating_texts": [repetition(text.response_ids) > REPEATING for text in written],
            "truncated_texts": [text.finish_reason == "length" for text in written],
            "empty_texts": [
                text.finish_reason != "length" and len(text.response_ids) < 2 for text in written
            ],
        }
        for name, flags in kinds.items():
            counts = np.array(flags, dtype=np.float64), ones_B
            key = quantity_key(name, temperature)
            found[key] = Quantity(counts, DEFINITIONS[name], prompts)
    return found


def artefacts(numbers: Mapping[str, Number], temperatures: Sequence[float]) -> Iterator[str]:
    """Yield a sentence for each temperature at which most texts are artefacts."""
    for temperature in temperatures:
        named = {name: numbers.get(quantity_key(name, temperature)) for name in DEFINITIONS}
        shares = {name: number.value for name, number in named.items() if number}
        parts = [f"{shares[name]:.0%} {_WORDS[name]}" for name in shares if shares[name] > MOST]
        if parts:
            yield (
                f"of the target's texts at temperature {temperature:g}, {' and '.join(parts)}: "
                "acceptance and speedups are an artefact of such texts, and no verdict holds for "
                "others; check target, prompts and sampler, or raise max_new_tokens"
            )


def artefact_warnings(results: Results, task: str = "", pair: str = "") -> list[str]:
    """Return the warnings of a run on its texts, by default those of all tasks and pairs."""
    if task:
        return [item.text for item in _found(results) if item.subject == f"{task}, {pair}"]
    return [f"{item.subject}: {item.text}" for item in _found(results)]


def artefact_tasks(results: Results) -> list[str]:
    """Return the tasks on whose texts there are warnings, in the order of the results."""
    subjects = {item.subject for item in _found(results)}
    cells = (row.cell for row in results.results)
    odd = (cell.task for cell in cells if f"{cell.task}, {cell.pair}" in subjects)
    return list(dict.fromkeys(odd))


def _found(results: Results) -> list[Finding]:
    return [item for item in results.findings if _FACT in item.facts]
