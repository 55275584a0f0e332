"""What to serve with: block length and draft, at each batch size, with what cannot be told apart.

By the clock where a speed run has several block lengths, and by the cost model: the fate of every
block is in the acceptance tables, and parts that were timed by themselves price it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, takewhile
from pathlib import Path

from draftmark.analysis.cost_model import Costs, why_slower
from draftmark.analysis.predicted_speedup import cost_numbers, timed_costs
from draftmark.analysis.recommendation import (
    Advice,
    Estimate,
    advise,
    batches,
    expected,
    in_turn,
    longest_block,
    measured,
    rivals,
)
from draftmark.analysis.stored_counts import tables_of
from draftmark.analysis.stored_speed import parts_of, ratios_of
from draftmark.reports._shared.markdown import escape, interval, two
from draftmark.reports._shared.rows import row_name
from draftmark.reports._shared.speed_rows import Measured, measured_of
from draftmark.results import Number, Result, Results
from draftmark.speculation.blocks import BlockCounts, block_counts
from draftmark.store.speed_records import TimedPass
from draftmark.types import AcceptanceTable

NOTE = """\
A draft is named with its `num_speculative_tokens` (gamma) where it pays for certain: of the lengths
that cannot be told from the best, the shortest that pays. These intervals hold for all drafts and
lengths of a line at once (95 % together), so they are wider than those of one alone; more prompts
and blocks make them narrower, fewer drafts and lengths too. *Measured*: by the clock, paired on
blocks of prompts. *Cost model*: what timed parts promise for all scored prompts, prefill included,
an engine's own overhead left out."""
_UNTIMED = "drafting was timed of one text at a time, and one after another it does not pay"


@dataclass(frozen=True)
class Case:
    """Drafts on the same terms: each one's advice, and why it would be slower, by its name."""

    temperature: float
    how: str
    batch: int
    advice: dict[str, Advice] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def advice(rows: Sequence[Result], results: Results, directory: Path) -> str:
    """Return the section for the cells of a task and pair; nothing where none has been timed."""
    done = [row for row in rows if not row.failure]
    cases = [*_measured(done, results, directory), *_expected(done, results, directory)]
    if not cases:
        return ""
    return "### What to serve with\n\n" + "\n".join(_lines(cases))


def expected_advice(rows: Sequence[Result], results: Results, directory: Path) -> str:
    """Return the bullets that follow from the cost model alone; nothing without timed parts."""
    done = [row for row in rows if not row.failure]
    return "\n".join(_lines(list(_expected(done, results, directory))))


def _measured(rows: Sequence[Result], results: Results, directory: Path) -> Iterator[Case]:
    cases: dict[str, Case] = {}
    speed = results.recipe["speed"] or {}
    timed = [(row, runs) for row in rows if (runs := list(ratios_of(row, directory, speed)))]
    for row, runs in timed:
        name = escape(str(row_name(row.cell, rows)))
        told = {(item.terms["gamma"], _terms(item)): item for item in measured_of(row, name)}
        found: dict[str, dict[int, Estimate]] = {}
        for under, ratios in runs:
            how = f"measured by {under.engine}"
            cases.setdefault(under.terms, Case(under.temperature, how, under.batch_size))
            found.setdefault(under.terms, {})[under.num_speculative_tokens] = measured(ratios)
        for terms, candidates in found.items():
            given = advise(candidates, len(timed))
            cases[terms].advice[name] = given
            cases[terms].reasons[name] = told[str(given.highest), terms].why_slower
    yield from cases.values()


def _terms(item: Measured) -> str:
    return ",".join(f"{key}={value}" for key, value in item.terms.items() if key != "gamma")


def _expected(rows: Sequence[Result], results: Results, directory: Path) -> Iterator[Case]:
    timed = [(row, parts) for row in rows if (parts := parts_of(row, directory))]
    for temperature in results.recipe["evaluation"]["temperatures"] if timed else ():
        cases: dict[int, Case] = {}
        for row, parts in timed:
            name = escape(str(row_name(row.cell, rows)))
            tables = tables_of(row, directory, temperature)
            for batch, given, reason in _by_batch(name, tables, parts, len(timed)):
                case = cases.setdefault(batch, Case(temperature, "cost model", batch))
                case.advice[name], case.reasons[name] = given, reason
        yield from (cases[batch] for batch in sorted(cases))


def _by_batch(
    name: str, tables: Sequence[AcceptanceTable], parts: Sequence[TimedPass], drafts: int
) -> Iterator[tuple[int, Advice, str]]:
    """Yield a draft's advice at each batch size, and why it would be slower there."""
    counts = {gamma: block_counts(tables, gamma) for gamma in range(1, longest_block(parts) + 1)}
    everywhere = in_turn(parts)
    for batch in batches(everywhere):
        candidates = {
            gamma: found
            for gamma, count in counts.items()
            if (found := expected(count, everywhere, batch, gamma, name))
        }
        if candidates:
            given = advise(candidates, drafts)
            yield batch, given, _reason(parts, batch, given.highest, counts[given.highest])


def _reason(parts: Sequence[TimedPass], batch: int, gamma: int, counts: BlockCounts) -> str:
    if batch not in batches(parts):
        return _UNTIMED
    numbers = cost_numbers(timed_costs(parts, batch, gamma), gamma)
    costs = Costs(numbers["cost_ratio"].value, numbers["verification_cost"].value)
    passes = counts.passes_B.sum()
    tokens_per_pass = float(counts.tokens_B.sum() / passes)
    return why_slower(tokens_per_pass, float(counts.drafted_B.sum() / passes), costs, batch)


def _lines(cases: Sequence[Case]) -> Iterator[str]:
    """Yield a bullet for each case, and one for the batch sizes of each temperature and way."""
    in_order = sorted(cases, key=lambda case: (case.temperature, case.how, case.batch))
    for (temperature, how), group in groupby(in_order, lambda case: (case.temperature, case.how)):
        several = list(group)
        for case in several:
            yield f"- T={temperature:g}, batch {case.batch}, {how}: {_answer(case)}"
        if len(several) > 1:
            yield f"- T={temperature:g}, {how}: {_up_to(several)}"


def _answer(case: Case) -> str:
    first, *tied = rivals(case.advice) or ("",)
    said = [_first(first, case.advice[first])] if first else ["**no draft** is known to pay."]
    for name, given in case.advice.items():
        if name != first:
            said.append(f"{name} {_beside(given, case.reasons[name], name in tied)}.")
    return " ".join(said)


def _first(name: str, given: Advice) -> str:
    shown = _speedup(given.number(given.gamma))
    others = [gamma for gamma in given.tied if gamma != given.gamma]
    told = f"**{name}, num_speculative_tokens = {given.gamma}: {shown}** times as fast."
    if not others:
        return told
    at = ", ".join(map(str, others))
    return f"{told} Not told from it: gamma {at}{_highest(given)}."


def _highest(given: Advice) -> str:
    if given.highest == given.gamma:
        return ""
    return f" (the highest is {given.highest}, {_speedup(given.number(given.highest))})"


def _beside(given: Advice, reason: str, tied: bool) -> str:
    if given.gamma:
        how = "cannot be told from that" if tied else "pays less"
        return f"{how}: {_speedup(given.number(given.gamma))} at gamma {given.gamma}"
    at_best = f"at best {_speedup(given.number(given.highest))}, at gamma {given.highest}"
    if given.loses and reason == _UNTIMED:
        return f"is not known to pay, {at_best}: {reason}"
    if given.loses:
        return f"is slower, {at_best}: {reason}"
    why = f": {reason}" if given.estimate.value < 0 and reason != _UNTIMED else ""
    return f"cannot be told from the target alone, {at_best}{why}"


def _up_to(cases: Sequence[Case]) -> str:
    """Return the batch sizes up to which some draft pays; `cases` are in their order."""
    all_sizes = ", ".join(str(case.batch) for case in cases)
    paying = [case.batch for case in cases if rivals(case.advice)]
    upwards = list(takewhile(lambda case: rivals(case.advice), cases))
    if len(paying) == len(cases):
        return f"a draft pays at all batch sizes that were timed: {all_sizes}."
    if not paying:
        return f"no draft is known to pay at any of the batch sizes {all_sizes}."
    if len(paying) > len(upwards):
        return f"a draft is known to pay at batch {', '.join(map(str, paying))}, of {all_sizes}."
    return f"**a draft pays up to batch {upwards[-1].batch}**, of {all_sizes}."


def _speedup(number: Number) -> str:
    return interval(number, two) + (" (no interval)" if number.low is None else "")
