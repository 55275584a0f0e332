"""Requests of a measured server -> counts per prompt, in the columns that scoring has.

A prompt's counts are means over its requests, a conversation's the sum over its turns. They are
vLLM's convention (`speculation.blocks.VLLM`): prefill emits the first token, so it belongs to no
pass, and tokens accepted beyond the end of a reply count as accepted. What a server does not report
is absent.

Legend: B prompt, G position in a block (position 1 is index 0).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from draftmark.analysis.quantities import RATES, Quantity, Terms, rate_bounds
from draftmark.store.acceptance_tables import Floats
from draftmark.store.served_records import RequestCounts, ServedRequest
from draftmark.types import MAX_GAMMA, conversation_of

_SERVED = "counted by the server for each request, tokens beyond the end of a reply included"
DEFINITIONS = {
    "acceptance_rate": f"accepted / tested drafted tokens, {_SERVED}; a token is tested if all "
    "drafted before it in its block were accepted",
    "draft_acceptance_rate": f"accepted / drafted tokens, {_SERVED}",
    "block_efficiency": "tokens of a reply after its first / passes of the target that emitted "
    "them: those that verified a draft, as the server counted them, and those that the tokens need",
    "accepted_per_pass": f"drafted tokens accepted per pass of the target, {_SERVED}",
    "marginal_acceptance": f"drafts that accept this position / drafts, {_SERVED}",
    "conditional_acceptance": f"drafts that accept this position / drafts that test it, {_SERVED}",
    "mean_acceptance_length": f"1 + accepted / drafts, {_SERVED}, as vLLM logs it",
}


@dataclass(frozen=True)
class ServedCounts:
    """Counts of each prompt [B], and by position [B, G]; only what every request reported.

    `block` is the largest number of tokens in a draft, 0 if no request reported it.
    """

    prompts: tuple[str, ...]
    columns: Mapping[str, Floats]
    tested_BG: Floats | None
    reached_BG: Floats | None
    block: int

    @property
    def least_block(self) -> int:
        """The number of tokens in a draft, or where it is unknown the least that fits the counts.

        That is the largest mean number of drafted tokens per pass of any prompt.
        """
        if self.block or "drafted" not in self.columns:
            return self.block
        passes_B = self.columns["passes"]
        means_B = self.columns["drafted"][passes_B > 0] / passes_B[passes_B > 0]
        return max(math.ceil(float(means_B.max(initial=0.0))), 1)


def served_counts(requests: Sequence[ServedRequest]) -> ServedCounts | None:
    """Return the counts of the draft's arm; None unless every one of its requests has counts.

    Where requests were repeated untimed for their counts, only those count.
    """
    every = [request for request in requests if request.arm == "draft"]
    mine = [request for request in every if request.total_s is None] or every
    if not mine or any(request.counts is None for request in mine):
        return None
    names = tuple(dict.fromkeys(conversation_of(request.example_id) for request in mine))
    block = max(request.counts.block or 0 for request in mine if request.counts)
    tested_BG, reached_BG = (
        _means(mine, names, [count(request, block) for request in mine])
        for count in (_tested, _reached)
    )
    columns = {
        name: _means(mine, names, [count(request) for request in mine])
        for name, count in _COLUMNS.items()
    }
    columns["tested"] = None if tested_BG is None else tested_BG.sum(-1)
    known = {name: values for name, values in columns.items() if values is not None}
    return ServedCounts(names, known, tested_BG, reached_BG, block)


def _means(
    requests: Sequence[ServedRequest], names: Sequence[str], values: Sequence[Any]
) -> Floats | None:
    """Return each prompt's values, a mean over its requests; None if one is missing.

    A conversation is one prompt, with the sum over its turns.
    """
    if any(value is None for value in values):
        return None
    by_prompt: dict[str, dict[str, list[Any]]] = {name: {} for name in names}
    for request, value in zip(requests, values, strict=True):
        turns = by_prompt[conversation_of(request.example_id)]
        turns.setdefault(request.example_id, []).append(value)
    sums = [
        np.sum([np.mean(each, axis=0) for each in turns.values()], axis=0)
        for turns in by_prompt.values()
    ]
    return np.array(sums, dtype=np.float64)


def _counts(request: ServedRequest) -> RequestCounts:
    assert request.counts is not None
    return request.counts


def _passes(request: ServedRequest) -> int:
    """Return the passes of the target after prefill.

    A pass emits one token more than it accepts. Servers count passes that verified a draft, or
    none; those without a draft are the ones that the tokens need besides.
    """
    counts = _counts(request)
    return max(counts.drafts or 0, _tokens(request) - counts.accepted)


def _tokens(request: ServedRequest) -> int:
    return max(request.num_tokens - 1, 0)


_COLUMNS: Mapping[str, Callable[[ServedRequest], int | None]] = {
    "tokens": _tokens,
    "passes": _passes,
    "accepted": lambda request: _counts(request).accepted,
    "drafted": lambda request: _counts(request).drafted,
    "drafts": lambda request: _counts(request).drafts,
}


def _reached(request: ServedRequest, block: int) -> list[int] | None:
    """Return the drafts [G] whose first g tokens were all accepted; None if not reported."""
    histogram = _counts(request).by_accepted
    if histogram is None or not block:
        return None
    return [sum(histogram[position:]) for position in range(1, block + 1)]


def _tested(request: ServedRequest, block: int) -> list[int] | None:
    """Return the drafts [G] that tested each position; None unless all drafts were whole blocks."""
    counts, reached = _counts(request), _reached(request, block)
    if reached is None or counts.drafts is None or counts.drafted != counts.drafts * block:
        return None
    return [counts.drafts, *reached[:-1]]


def served_quantities(counts: ServedCounts, temperature: float, gamma: int) -> dict[str, Quantity]:
    """Return every quantity whose numerator and denominator the server reported.

    Keys name blocks of `gamma` tokens.
    """
    longest = counts.block or MAX_GAMMA
    return {
        Terms(temperature, None).key(name, gamma, position): Quantity(
            (top_B, bottom_B), DEFINITIONS[name], counts.prompts, rate_bounds(name, longest)
        )
        for name, position, top_B, bottom_B in _rates(counts)
        if bottom_B.sum() > 0
    }


def _rates(counts: ServedCounts) -> Iterator[tuple[str, int | None, Floats, Floats]]:
    """Yield (name, position, numerators, denominators)."""
    columns = counts.columns
    for name, (top, bottom) in RATES.items():
        if top in columns and bottom in columns:
            yield name, None, columns[top], columns[bottom]
    drafts_B = columns.get("drafts")
    for position in range(1, counts.block + 1):
        for name, bottom_B in (
            ("marginal_acceptance", drafts_B),
            ("conditional_acceptance", _at(counts.tested_BG, position)),
        ):
            top_B = _at(counts.reached_BG, position)
            if top_B is not None and bottom_B is not None:
                yield name, position, top_B, bottom_B
    if drafts_B is not None:
        yield "mean_acceptance_length", None, drafts_B + columns["accepted"], drafts_B


def _at(counts_BG: Floats | None, position: int) -> Floats | None:
    return None if counts_BG is None else counts_BG[:, position - 1]
