"""Recommendations in words: the draft and block length to serve with at each batch size.

They come from measured speedups, and from the cost model: block counts of the acceptance tables at
the measured times of drafting and verification.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, takewhile
from pathlib import Path
from typing import NamedTuple

from draftmark.analysis.cost_model import Costs, why_slower
from draftmark.analysis.predicted_speedup import cost_numbers, timed_costs
from draftmark.analysis.recommendation import (
    MOST_BLOCKS,
    Advice,
    Doubt,
    Estimate,
    doubt_of,
    drafts_to_serve,
    expected_estimate,
    longest_timed_block,
    measured_estimate,
    recommend,
    timed_batch_sizes,
    with_drafting_in_turn,
)
from draftmark.analysis.stored_counts import stored_cell
from draftmark.analysis.stored_speed import stored_passes, stored_ratios
from draftmark.reports._shared.content import escape_markdown, number_text
from draftmark.reports._shared.rows import (
    conditions_of,
    engine_in_words,
    row_name,
    temperatures_of,
    way_in_words,
)
from draftmark.reports._shared.speed_rows import SpeedRow, speed_rows
from draftmark.results import Result, Results
from draftmark.speculation.blocks import BlockSums
from draftmark.store.speed_records import TimedPass

NOTE = """\
A draft is recommended only if its speedup is significantly above 1, at the shortest such block
length, `num_speculative_tokens` (gamma), that does not differ significantly from the best. The 95%
intervals of a line are simultaneous over all its drafts and lengths; more prompts, and fewer drafts
or lengths, make them narrower. *Measured*: wall time, paired on blocks of prompts. *Cost model*:
expected time of all scored prompts from timed passes, prefill included, without engine overhead."""
_UNTIMED = "drafting was timed only at batch 1, and drafting one text after another does not pay"


@dataclass(frozen=True)
class Case:
    """One condition: by draft, the advice and the reason why the draft would be slower."""

    temperature: float
    how: str
    batch: int
    advice: dict[str, Advice] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def advice_section(rows: Sequence[Result], results: Results, directory: Path) -> str:
    """Return the Markdown section for the cells of a task and pair; empty if no cell was timed."""
    cases = serving_cases(rows, results, directory)
    return "\n".join(["### What to serve with\n", *_lines(cases)]) if cases else ""


def serving_cases(rows: Sequence[Result], results: Results, directory: Path) -> list[Case]:
    """Return the conditions with advice for the cells of a task and pair, measured ones first."""
    done = [row for row in rows if not row.failure]
    return [*_measured(done, results, directory), *_expected(done, results, directory)]


def expected_advice(rows: Sequence[Result], results: Results, directory: Path) -> str:
    """Return the cost model's recommendations as bullets; empty if no passes were timed."""
    done = [row for row in rows if not row.failure]
    return "\n".join(_lines(list(_expected(done, results, directory))))


def _measured(rows: Sequence[Result], results: Results, directory: Path) -> Iterator[Case]:
    cases: dict[str, Case] = {}
    speed = results.recipe.get("speed") or {}
    timed = [(row, runs) for row in rows if (runs := list(stored_ratios(row, directory, speed)))]
    for row, runs in timed:
        name = str(row_name(row.cell, rows))
        by_terms = {(item.terms["gamma"], _terms(item)): item for item in speed_rows(row, name)}
        found: dict[str, dict[int, Estimate]] = {}
        for under, ratios in runs:
            how = f"measured by {engine_in_words(conditions_of(under.terms))}"
            cases.setdefault(under.terms, Case(under.temperature, how, under.batch_size))
            found.setdefault(under.terms, {})[under.num_speculative_tokens] = measured_estimate(
                ratios
            )
        for terms, candidates in found.items():
            advice = recommend(candidates, len(timed))
            cases[terms].advice[name] = advice
            cases[terms].reasons[name] = by_terms[str(advice.highest), terms].why_slower
    yield from cases.values()


def _terms(item: SpeedRow) -> str:
    return ",".join(f"{key}={value}" for key, value in item.terms.items() if key != "gamma")


def _expected(rows: Sequence[Result], results: Results, directory: Path) -> Iterator[Case]:
    timed = [(row, parts) for row in rows if (parts := stored_passes(row, directory))]
    for temperature in temperatures_of(results) if timed else ():
        cases: dict[tuple[int, str], Case] = {}
        for row, parts in timed:
            name = str(row_name(row.cell, rows))
            counted = stored_cell(row, directory, temperature)
            for draft in counted.drafts:
                how = f"cost model{way_in_words(draft, counted.drafts)}"
                counts = {
                    gamma: counted.blocks(gamma, draft, results.verification)
                    for gamma in range(1, longest_timed_block(parts) + 1)
                }
                scored = _Scored(name, counts, parts, counted.prompts)
                for batch, advice, reason in _by_batch(scored, len(timed)):
                    case = cases.setdefault((batch, how), Case(temperature, how, batch))
                    case.advice[name], case.reasons[name] = advice, reason
        yield from (cases[place] for place in sorted(cases))


class _Scored(NamedTuple):
    """A draft with its counts by block length, its timed passes, and the names of its prompts."""

    name: str
    counts: Mapping[int, BlockSums]
    parts: Sequence[TimedPass]
    prompts: Sequence[str]


def _by_batch(scored: _Scored, drafts: int) -> Iterator[tuple[int, Advice, str]]:
    """Yield (batch size, advice, reason why the draft would be slower) of a draft."""
    name, counts, parts, prompts = scored
    all_sizes = with_drafting_in_turn(parts)
    for batch in timed_batch_sizes(all_sizes):
        candidates = {
            gamma: estimate
            for gamma, count in counts.items()
            if (estimate := expected_estimate(count, all_sizes, batch, gamma, name, prompts))
        }
        if candidates:
            advice = recommend(candidates, drafts)
            yield batch, advice, _reason(parts, batch, advice.highest, counts[advice.highest])


def _reason(parts: Sequence[TimedPass], batch: int, gamma: int, counts: BlockSums) -> str:
    if batch not in timed_batch_sizes(parts):
        return _UNTIMED
    numbers = cost_numbers(timed_costs(parts, batch, gamma), gamma)
    passes = float(counts.passes_B.sum())
    tokens, drafted = (float(each.sum()) / passes for each in (counts.tokens_B, counts.drafted_B))
    block = timed_costs(parts, batch, gamma)[0].block
    by_block = Costs(numbers["cost_ratio"].value, block=block)
    of_token = by_block.drafting(1.0, drafted) / (drafted or 1.0)  # what a drafted token comes to
    costs = Costs(of_token, numbers["verification_cost"].value)
    return why_slower(tokens, drafted, costs, batch)


def _lines(cases: Sequence[Case]) -> Iterator[str]:
    """Yield a bullet for each case, and a summary bullet over the batch sizes."""
    in_order = sorted(cases, key=lambda case: (case.temperature, case.how, case.batch))
    for (temperature, how), group in groupby(in_order, lambda case: (case.temperature, case.how)):
        several = list(group)
        for case in several:
            yield f"- T={temperature:g}, batch {case.batch}, {how}: {_answer(case)}"
        if len(several) > 1:
            yield f"- T={temperature:g}, {how}: {batch_sizes_text(several)}"


def _answer(case: Case) -> str:
    first, *tied = drafts_to_serve(case.advice) or ("",)
    parts = [_first(first, case.advice[first])] if first else ["**no draft** is known to pay."]
    for name, advice in case.advice.items():
        if name != first:
            how = _beside(advice, case.reasons[name], name in tied)
            parts.append(f"{escape_markdown(name)} {how}.")
    if doubt := doubt_of(case.advice):
        parts.append(escape_markdown(f"{doubt_text(doubt)}."))
    return " ".join(parts)


def _first(name: str, advice: Advice) -> str:
    length = f"num_speculative_tokens = {advice.gamma}"
    best = f"**{escape_markdown(name)}, {length}: {speedup_text(advice)}** times as fast."
    others = [str(gamma) for gamma in advice.tied if gamma != advice.gamma]
    if not others:
        return best
    value = speedup_text(advice, advice.highest)
    highest = f" (highest estimate: blocks of {advice.highest}, {value})"
    shown = highest if advice.highest != advice.gamma else ""
    return f"{best} Not significantly different: blocks of {', '.join(others)}{shown}."


def _beside(advice: Advice, reason: str, tied: bool) -> str:
    if advice.gamma:
        how = "is not significantly slower" if tied else "pays less"
        return f"{how}: {speedup_text(advice)} in blocks of {advice.gamma}"
    at_best = f"at best {speedup_text(advice, advice.highest)}, in blocks of {advice.highest}"
    if advice.loses:
        how = "is not known to pay" if reason == _UNTIMED else "is slower"
        return f"{how}, {at_best}: {reason}"
    why = f": {reason}" if advice.estimate.value < 0 and reason != _UNTIMED else ""
    return f"does not differ significantly from the target alone, {at_best}{why}"


def doubt_text(doubt: Doubt) -> str:
    """Return what advice cannot tell as a clause, with the number of blocks that would tell it."""
    return doubts_text({rivals_in_words(doubt) or f"whether {doubt.draft} pays": [doubt]})


def rivals_in_words(doubt: Doubt) -> str:
    """Return the two drafts of a doubt; empty if it is about one draft."""
    return f"{doubt.draft} and {doubt.rival} apart" if doubt.rival else ""


def doubts_text(untold: Mapping[str, Sequence[Doubt]]) -> str:
    """Return in one clause what advice cannot tell, with the number of blocks that would tell all.

    `untold` has the doubts by what they are about, in words.
    """
    doubts = [doubt for several in untold.values() for doubt in several]
    most = max(doubts, key=lambda doubt: doubt.blocks or 0)
    return f"{_measured_so_far(most)} cannot tell {', nor '.join(untold)}{_would_tell(doubts)}"


def _measured_so_far(doubt: Doubt) -> str:
    return f"{doubt.blocks} blocks" if doubt.blocks else "the cost model"


def _would_tell(doubts: Sequence[Doubt]) -> str:
    """Return the number of blocks that would tell all; nothing for the cost model."""
    measured = [doubt for doubt in doubts if doubt.blocks]
    needed = [doubt.needed for doubt in measured if doubt.needed]
    if not measured:
        return ""
    return f"; use {max(needed)}" if len(needed) == len(measured) else f"; use over {MOST_BLOCKS}"


def batch_sizes_text(cases: Sequence[Case]) -> str:
    """Return in words the batch sizes at which a draft pays; `cases` are in order of batch size."""
    all_sizes = ", ".join(str(case.batch) for case in cases)
    paying = [case.batch for case in cases if drafts_to_serve(case.advice)]
    upwards = list(takewhile(lambda case: drafts_to_serve(case.advice), cases))
    if len(paying) == len(cases):
        return f"a draft pays at every timed batch size: {all_sizes}."
    if not paying:
        return f"no draft is known to pay at any of the batch sizes {all_sizes}."
    if len(paying) > len(upwards):
        return f"a draft is known to pay at batch {', '.join(map(str, paying))}, of {all_sizes}."
    return f"**a draft pays up to batch {upwards[-1].batch}**, of {all_sizes}."


def speedup_text(advice: Advice, gamma: int = 0) -> str:
    """Return the speedup at a block length, by default the recommended one, with its interval."""
    number = advice.number(gamma or advice.gamma)
    return number_text(number, 2) + (" (no interval)" if number.low is None else "")
