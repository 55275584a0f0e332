"""How many prompts a gate needs, estimated from a run and, if there are any, accepted numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from draftmark.analysis.gate.accepted import Accepted
from draftmark.analysis.gate.gate import Terms
from draftmark.analysis.gate.rule import Rule, prompts_needed, unrelated
from draftmark.analysis.statistics import Effect, effect
from draftmark.analysis.stored_counts import Measured, measured, paired, shared
from draftmark.results import Results


@dataclass(frozen=True)
class Pilot:
    """How many prompts a contender's gate needs, and the source of the estimate."""

    name: str
    prompts: int  # that the run has
    needed: int | None  # None: no number of prompts will do
    source: str

    def __str__(self) -> str:
        if self.needed is None:
            return f"{self.name}: no number of prompts will do ({self.source})"
        enough = "enough" if self.prompts >= self.needed else "too few"
        return f"{self.name}: {self.needed} prompts ({self.prompts} here: {enough}; {self.source})"


def pilots(
    results: Results, directory: Path, known: Accepted | None, terms: Terms
) -> Iterator[Pilot]:
    """Yield how many prompts each contender's gate needs."""
    before = {(item.contender, item.temperature): item for item in known.measured} if known else {}
    found = measured(results, directory, known.gamma if known else None)
    rule = Rule(terms.margin, len(before or found))
    for item in found:
        name, here, needed = item.name, len(item.prompts), None
        source = "fewer than two prompts, or nothing was drafted"
        counts = item.counts(terms.quantity, item.prompts)
        if here > 1 and all(bottom_B.sum() for _, bottom_B in counts):
            earlier = before.get((item.contender, item.temperature))
            pilot, source = _pilot(item, earlier, terms.quantity)
            needed = prompts_needed(pilot, rule)
        yield Pilot(name, here, needed, source)


def _pilot(item: Measured, before: Measured | None, quantity: str) -> tuple[Effect, str]:
    """Return the difference of two runs, or a bound on its spread, with its source."""
    if before and len(prompts := shared(item, before)) > 1:
        found = paired(item, before, quantity, prompts)
        if found.standard_error:
            return found, "as it and its seeds spread against the accepted numbers"
    seeds = item.counts(quantity, item.prompts)
    if len(seeds) > 1 and (found := effect(seeds[:1], seeds[1:2])).standard_error:
        return found, "as two seeds spread"
    return unrelated(seeds[0]), "at most, for runs that share nothing; power --against tells more"
