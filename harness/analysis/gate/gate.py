"""A run against accepted numbers: what the gate says of each contender, and of all together."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from draftmark.analysis.gate.accepted import Accepted, refuse_unfit
from draftmark.analysis.gate.comparable import differences, facts, standing, undeclared
from draftmark.analysis.gate.rule import Rule, Verdict, all_of, prompts_needed
from draftmark.analysis.quantities import RATES
from draftmark.analysis.statistics import Effect
from draftmark.analysis.stored_counts import Measured, paired, shared
from draftmark.errors import UserError, unknown
from draftmark.results import Contender, Results
from draftmark.text import plain

QUANTITY = "acceptance_rate"
FEW_SEEDS = 3
_SHOWN = 5  # differences in one sentence


@dataclass(frozen=True)
class Terms:
    """What is asked of the gate; raises UserError for a margin that is none, or another rate."""

    margin: float
    quantity: str = QUANTITY
    declared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise UserError(f"A margin of {self.margin:g} is none; name one above 0, like 0.01.")
        if self.quantity not in RATES:
            raise unknown("quantity", self.quantity, RATES)


@dataclass(frozen=True)
class Line:
    """What the gate says of a contender at a temperature; rates are None where there are none."""

    name: str
    verdict: Verdict
    n: int = 0  # prompts that both have
    before: float | None = None
    now: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What the gate says, and by which rule."""

    verdict: Verdict
    quantity: str
    gamma: int
    rule: Rule
    lines: tuple[Line, ...]
    differs: tuple[str, ...]  # as was declared, or as another number of prompts implies
    notes: tuple[str, ...]
    sizes: tuple[int, ...] = ()  # numbers of test rows that were looked at, this one last


def same_terms(results: Results, accepted: Accepted, declared: Sequence[str]) -> tuple[str, ...]:
    """Return how a run differs from accepted numbers: by what was declared, or in its size.

    Raises UserError if they differ in anything else.
    """
    found = differences(accepted.facts, facts(results), standing(results))
    wrong = undeclared(found, [*accepted.declared, *declared])
    if wrong:
        _refuse_another_recipe(results, accepted)
        shown = plain(", ".join(map(str, wrong[:_SHOWN]))) + (", ..." if wrong[_SHOWN:] else "")
        count = "one thing" if len(wrong) == 1 else f"{len(wrong)} things"
        names = dict.fromkeys(re.sub(r"^hardware\..*", "hardware", item.name) for item in wrong)
        options = " ".join(f"--declare {name}" for name in [*names][:_SHOWN])
        raise UserError(
            f"The run differs from the accepted one in {count} not declared: {shown}; run it on "
            f"the same terms, or declare what is meant to differ: {plain(options)}."
        )
    return tuple(str(item) for item in found)


def _refuse_another_recipe(results: Results, accepted: Accepted) -> None:
    """Raise UserError if a run has nothing at all of what was accepted."""
    here = {row.cell.contender: None for row in results.results}
    there = {item.contender: None for item in accepted.measured}
    if there and not here.keys() & there.keys():
        has, wants = (
            plain(", ".join(f"{each.task}/{each.pair}/{each.method}" for each in side), 200)
            for side in (here, there)
        )
        raise UserError(
            f"The run has {has}, and accepted was {wants}: those are numbers of another recipe; "
            "name its own with --against, or accept this run's with draftmark bless."
        )


def judge(
    results: Results, now: Sequence[Measured], accepted: Accepted, terms: Terms, *, looks: int = 1
) -> Outcome:
    """Return what the gate says of a run; `now` is what it counted of its prompts.

    Raises UserError if the run differs in what was not declared, or is unfit to be compared.
    """
    refuse_unfit(results)
    allowed = same_terms(results, accepted, terms.declared)
    rule = Rule(terms.margin, len(accepted.measured), looks)
    there = {(item.contender, item.temperature): item for item in now}
    failed = {row.cell.contender: row.failure for row in results.results if row.failure}
    lines = tuple(
        _line(
            before, there.get((before.contender, before.temperature)), failed, rule, terms.quantity
        )
        for before in accepted.measured
    )
    return Outcome(
        verdict=all_of([line.verdict for line in lines]),
        quantity=terms.quantity,
        gamma=accepted.gamma,
        rule=rule,
        lines=lines,
        differs=allowed,
        notes=tuple(_notes(now, accepted)),
    )


def _line(
    before: Measured,
    now: Measured | None,
    failed: Mapping[Contender, Any],
    rule: Rule,
    quantity: str,
) -> Line:
    if before.contender in failed:
        return Line(before.name, "FAIL", note=f"it failed: {failed[before.contender]}")
    if now is None:
        return Line(before.name, "INCONCLUSIVE", note="it is not in this run")
    prompts = shared(before, now)
    sides = [item.counts(quantity, prompts) for item in (now, before)]
    if any(not bottom_B.sum() for side in sides for _, bottom_B in side):
        note = "nothing to divide by: no prompt in common, or nothing was drafted"
        return Line(before.name, "INCONCLUSIVE", len(prompts), note=note)
    rates = [_mean_rate(side) for side in sides]
    if len(prompts) < 2:
        note = "one prompt has no interval"
        return Line(before.name, "INCONCLUSIVE", len(prompts), rates[1], rates[0], note=note)
    found = paired(now, before, quantity, prompts)
    low, high = rule.interval(found)
    verdict = rule.verdict(low, high)
    return Line(
        before.name,
        verdict,
        len(prompts),
        rates[1],
        rates[0],
        found.value,
        low,
        high,
        _too_few(found, rule) if verdict == "INCONCLUSIVE" else "",
    )


def _too_few(found: Effect, rule: Rule) -> str:
    """Return what would tell where a difference's interval holds the margin."""
    needed = prompts_needed(found, rule)
    if needed is None:
        return "seeds differ by too much for this margin: more seeds, or a wider margin"
    if needed <= found.n:
        return "it is near the margin itself: more prompts, or another margin"
    return f"too few prompts: {needed} would do"


def _mean_rate(side: Sequence[Any]) -> float:
    return sum(float(top.sum() / bottom.sum()) for top, bottom in side) / len(side)


def _notes(now: Sequence[Measured], accepted: Accepted) -> Iterator[str]:
    """Yield what a reader must know: few seeds, what is not gated, other texts."""
    seeds = min((len(item.seeds) for item in now), default=0)
    if seeds == 1:
        yield "One seed: this is of these drafts, and not of another training of the same method."
    elif seeds < FEW_SEEDS:
        yield f"{seeds} seeds: fewer than {FEW_SEEDS} say little of another training."
    known = {(item.contender, item.temperature): item for item in accepted.measured}
    new = [item.name for item in now if (item.contender, item.temperature) not in known]
    if new:
        yield f"Not accepted yet, so not gated: {', '.join(new)}."
    for item in now:
        before = known.get((item.contender, item.temperature))
        if before and (other := _other_texts(item, before)):
            yield (
                f"{item.name}: the target's text has another length than the accepted one on "
                f"{other} of {len(shared(item, before))} prompts, so it is other text."
            )


def _other_texts(now: Measured, before: Measured) -> int:
    prompts = shared(now, before)
    (mine, _), (theirs, _) = (m.counts("block_efficiency", prompts)[0] for m in (now, before))
    return int((mine != theirs).sum())
