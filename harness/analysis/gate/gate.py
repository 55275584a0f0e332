"""The gate: verdicts on a run against accepted numbers, for each contender and overall."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from draftmark.analysis.gate.accepted import Accepted, refuse_unfit
from draftmark.analysis.gate.comparable import (
    default_facts,
    fact_differences,
    run_facts,
    undeclared_differences,
)
from draftmark.analysis.gate.made_by import drafted_counting
from draftmark.analysis.gate.rule import Rule, Verdict, overall_verdict, prompts_needed
from draftmark.analysis.quantities import RATES
from draftmark.analysis.statistics import Effect, mean_ratio
from draftmark.analysis.stored_counts import StoredCounts, paired_effect, shared_prompts
from draftmark.analysis.text_artefacts import artefact_warnings
from draftmark.errors import UserError, unknown_name_error
from draftmark.results import Contender, Results
from draftmark.text import printable_text

FEW_SEEDS = 3
_SHOWN = 5  # differences in one sentence


@dataclass(frozen=True)
class GateTerms:
    """A gate's settings; raises UserError unless the margin is above 0 and the rate is known."""

    margin: float
    quantity: str = "acceptance_rate"
    declared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise UserError(f"A margin of {self.margin:g} must be above 0, like 0.01.")
        if self.quantity not in RATES:
            raise unknown_name_error("quantity", self.quantity, RATES)


@dataclass(frozen=True)
class GateLine:
    """The verdict on a contender at a temperature; unknown rates are None."""

    name: str
    verdict: Verdict
    n: int = 0  # prompts in both runs
    before: float | None = None
    now: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class GateOutcome:
    """The verdict of a gate, with its rule."""

    verdict: Verdict
    quantity: str
    gamma: int
    rule: Rule
    lines: tuple[GateLine, ...]
    differs: tuple[str, ...]  # allowed differences: declared, or due to the number of prompts
    notes: tuple[str, ...]
    sizes: tuple[int, ...] = ()  # number of test rows at each look so far
    accepted: Mapping[str, str] = field(default_factory=dict)  # date, commit and reason
    commit: str = ""  # of the run
    verification: str = "standard"  # the rule by which blocks were counted, as accepted


def _allowed_differences(
    results: Results, accepted: Accepted, declared: Sequence[str]
) -> tuple[str, ...]:
    """Return a run's differences from accepted numbers; raises UserError if one is undeclared."""
    found = fact_differences(accepted.facts, run_facts(results), default_facts(results))
    wrong = undeclared_differences(found, [*accepted.declared, *declared])
    if wrong:
        _refuse_another_recipe(results, accepted)
        shown = printable_text(", ".join(map(str, wrong[:_SHOWN]))) + (
            ", ..." if wrong[_SHOWN:] else ""
        )
        count = "one thing" if len(wrong) == 1 else f"{len(wrong)} things"
        names = dict.fromkeys(re.sub(r"^hardware\..*", "hardware", item.name) for item in wrong)
        options = " ".join(f"--declare {name}" for name in [*names][:_SHOWN])
        raise UserError(
            f"The run differs from the accepted one in {count} not declared: {shown}; run it on "
            f"the same terms, or declare what is meant to differ: {printable_text(options)}."
        )
    return tuple(str(item) for item in found)


def _refuse_other_counting(results: Results, accepted: Accepted, quantity: str) -> None:
    """Raise UserError for a rate per drafted token if the two sides count drafted tokens apart."""
    here, there = map(drafted_counting, (run_facts(results), accepted.facts))
    if "drafted" in RATES[quantity] and here != there:
        raise UserError(
            f"The accepted numbers count drafted tokens {there}, the run {here}, so {quantity} "
            "cannot be compared; accept numbers anew with draftmark bless, or gate on --quantity "
            "acceptance_rate."
        )


def _refuse_another_recipe(results: Results, accepted: Accepted) -> None:
    """Raise UserError if a run has none of the accepted contenders."""
    here = {row.cell.contender: None for row in results.results}
    there = {item.contender: None for item in accepted.measured}
    if there and not here.keys() & there.keys():
        has, wants = (
            printable_text(
                ", ".join(f"{each.task}/{each.pair}/{each.method}" for each in side), 200
            )
            for side in (here, there)
        )
        raise UserError(
            f"The run has {has}, but the accepted numbers are of another recipe ({wants}); "
            "name this recipe's with --against, or accept this run's with draftmark bless."
        )


def judge_run(
    results: Results,
    now: Sequence[StoredCounts],
    accepted: Accepted,
    terms: GateTerms,
    *,
    looks: int = 1,
) -> GateOutcome:
    """Return the verdict on a run whose counts are `now`.

    Raises UserError if the run has undeclared differences or a finding of severity "error".
    """
    refuse_unfit(results)
    _refuse_other_counting(results, accepted, terms.quantity)
    allowed = _allowed_differences(results, accepted, terms.declared)
    rule = Rule(terms.margin, len(accepted.measured), looks)
    measured = {(item.contender, item.temperature): item for item in now}
    failed = {row.cell.contender: row.failure for row in results.results if row.failure}
    lines = tuple(
        _line(item, measured.get((item.contender, item.temperature)), failed, rule, terms.quantity)
        for item in accepted.measured
    )
    verdict = overall_verdict([line.verdict for line in lines])
    warnings = (f"Warning: {text}." for text in artefact_warnings(results))
    notes = (*warnings, *_notes(now, accepted))
    return GateOutcome(
        verdict,
        terms.quantity,
        accepted.gamma,
        rule,
        lines,
        allowed,
        notes,
        accepted=_acceptance(accepted),
        commit=str(results.commit.get("commit", "")),
        verification=accepted.verification,
    )


def _acceptance(accepted: Accepted) -> dict[str, str]:
    """Return when, at which commit and why numbers were accepted last; {} if that is unknown."""
    last = accepted.history[-1] if accepted.history else {}
    return {name: str(last[name]) for name in ("date", "commit", "reason") if last.get(name)}


def _line(
    before: StoredCounts,
    now: StoredCounts | None,
    failed: Mapping[Contender, Any],
    rule: Rule,
    quantity: str,
) -> GateLine:
    if before.contender in failed:
        return GateLine(before.name, "FAIL", note=f"it failed: {failed[before.contender]}")
    if now is None:
        return GateLine(before.name, "INCONCLUSIVE", note="it is not in this run")
    prompts = shared_prompts(before, now)
    sides = [item.counts(quantity, prompts) for item in (before, now)]
    if any(not bottom_B.sum() for side in sides for _, bottom_B in side):
        note = "nothing to divide by: no prompt in common, or nothing was drafted"
        return GateLine(before.name, "INCONCLUSIVE", len(prompts), note=note)
    earlier_rate, rate = (mean_ratio(side) for side in sides)
    if len(prompts) < 2:
        note = "one prompt has no interval"
        return GateLine(before.name, "INCONCLUSIVE", len(prompts), earlier_rate, rate, note=note)
    found = paired_effect(now, before, quantity, prompts)
    rates = earlier_rate, rate, found.value
    if not found.differing_n:
        note = "the same counts on every prompt"
        return GateLine(before.name, "PASS", len(prompts), *rates, note=note)
    low, high = rule.interval(found)
    verdict = rule.verdict(low, high)
    note = _too_few(found, rule) if verdict == "INCONCLUSIVE" else ""
    return GateLine(before.name, verdict, len(prompts), *rates, low, high, note)


def _too_few(found: Effect, rule: Rule) -> str:
    """Return advice in words for a difference whose interval contains -margin."""
    needed = prompts_needed(found, rule)
    if needed is None:
        return "seeds differ by too much for this margin: more seeds, or a wider margin"
    if needed <= found.n:
        return "it is near the margin itself: more prompts, or another margin"
    return f"too few prompts: {needed} would do"


def _notes(now: Sequence[StoredCounts], accepted: Accepted) -> Iterator[str]:
    """Yield warnings: few seeds, contenders without accepted numbers, changed target texts."""
    seeds = min((len(item.seeds) for item in now), default=0)
    if seeds == 1:
        yield "One seed: the verdict is on these drafts, not on another training of the method."
    elif seeds < FEW_SEEDS:
        yield f"{seeds} seeds: fewer than {FEW_SEEDS} say little about another training."
    known = {(item.contender, item.temperature): item for item in accepted.measured}
    new = [item.name for item in now if (item.contender, item.temperature) not in known]
    if new:
        yield f"Not accepted yet, so not gated: {', '.join(new)}."
    for item in now:
        before = known.get((item.contender, item.temperature))
        prompts = shared_prompts(item, before) if before else []
        if before and (other := _other_lengths(item, before, prompts)):
            yield (
                f"{item.name}: the target's text changed: its length differs from the accepted "
                f"one on {other} of {len(prompts)} prompts."
            )


def _other_lengths(now: StoredCounts, before: StoredCounts, prompts: Sequence[str]) -> int:
    """Return the number of prompts whose texts differ in length."""
    (mine, _), (theirs, _) = (m.counts("block_efficiency", prompts)[0] for m in (now, before))
    return int((mine != theirs).sum())
