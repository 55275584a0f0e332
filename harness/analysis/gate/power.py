"""The number of prompts that a gate needs, estimated from a run and optional accepted numbers."""

from collections.abc import Iterator
from pathlib import Path

from draftmark.analysis.gate.accepted import Accepted
from draftmark.analysis.gate.gate import GateTerms
from draftmark.analysis.gate.rule import Rule, prompts_needed, unrelated_effect
from draftmark.analysis.statistics import Effect, estimate_effect
from draftmark.analysis.stored_counts import (
    StoredCounts,
    paired_effect,
    shared_prompts,
    stored_counts,
)
from draftmark.analysis.under_block import results_under
from draftmark.results import Results


def power_lines(
    results: Results, directory: Path, known: Accepted | None, terms: GateTerms
) -> Iterator[str]:
    """Yield a line for each contender: the prompts that its gate needs, and the evidence."""
    before = {(item.contender, item.temperature): item for item in known.measured} if known else {}
    if known:
        results = results_under(results, known.verification)
    found = stored_counts(results, directory, known.gamma if known else None)
    rule = Rule(terms.margin, len(before or found))
    for item in found:
        here, needed = len(item.units), None
        source = "fewer than two prompts, or nothing was drafted"
        counts = item.counts(terms.quantity, item.units)
        if here > 1 and all(bottom_B.sum() for _, bottom_B in counts):
            earlier = before.get((item.contender, item.temperature))
            pilot, source = _pilot(item, earlier, terms.quantity)
            needed = prompts_needed(pilot, rule)
        if needed is None:
            yield f"{item.name}: no number of prompts will do ({source})"
        else:
            enough = "enough" if here >= needed else "too few"
            yield f"{item.name}: {needed} prompts ({here} here: {enough}; {source})"


def _pilot(item: StoredCounts, before: StoredCounts | None, quantity: str) -> tuple[Effect, str]:
    """Return a pilot for `prompts_needed`, with the source of its spread in words."""
    if before and len(prompts := shared_prompts(item, before)) > 1:
        found = paired_effect(item, before, quantity, prompts)
        if found.standard_error:
            return found, "as it and its seeds spread against the accepted numbers"
    seeds = item.counts(quantity, item.units)
    if len(seeds) > 1 and (found := estimate_effect(seeds[:1], seeds[1:2])).standard_error:
        return found, "as two seeds spread"
    bound = "at most, for runs that share nothing; power --against is closer"
    return unrelated_effect(seeds[0]), bound
