"""The verdict of a run: which method is first, by how much, what to serve with, and how sure.

Sentences are plain text; whoever prints them escapes them.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from draftmark.analysis import validation_history
from draftmark.analysis.quantities import quantity_key
from draftmark.analysis.recommendation import doubt_of, drafts_to_serve
from draftmark.analysis.text_artefacts import artefact_tasks, artefact_warnings
from draftmark.reports._shared.content import number_text
from draftmark.reports._shared.recommendation import (
    Case,
    batch_sizes_text,
    doubt_text,
    serving_cases,
    speedup_text,
)
from draftmark.reports._shared.rows import (
    by_task_and_pair,
    gamma_of,
    group_by,
    seeds_by_task,
    temperatures_of,
    trains_nothing,
)
from draftmark.reports._shared.sentences import all_listed, as_sentence, first_names, listed
from draftmark.reports._shared.serving_verdict import condition_text, first_case, serving_verdict
from draftmark.results import Number, Result, Results, Standing

_ORDERS = 2  # lists of first methods in a sentence; of more, it counts their tasks


@dataclass(frozen=True)
class Leader:
    """The method with the highest block efficiency at a temperature.

    `tied` do not differ from it significantly; `next` is the best of the others, None if all tie.
    """

    temperature: float
    method: str
    value: Number
    tied: tuple[str, ...]
    next: Standing | None

    @property
    def next_method(self) -> str | None:
        """The best method that is behind."""
        return self.next.contender.method if self.next else None

    @property
    def names(self) -> str:
        """The methods that may be first."""
        return " or ".join(first_names((self.method, *self.tied)))


@dataclass(frozen=True)
class Verdict:
    """What a run says about a task and pair; `serving` is the condition of the advice, if any."""

    task: str
    pair: str
    leaders: tuple[Leader, ...]
    serving: Case | None
    ranking: tuple[str, ...]  # sentences
    advice: tuple[str, ...]
    cases: tuple[Case, ...] = ()  # all conditions

    @property
    def disagrees(self) -> bool:
        """True if the draft to serve is not among the first by block efficiency."""
        return self.serving is not None and any(_disagreement(self.serving, self.leaders))

    @property
    def text(self) -> str:
        """The verdict as sentences."""
        return " ".join((*self.ranking, *self.advice))


def verdicts(results: Results, directory: Path) -> list[Verdict]:
    """Return the verdict on each task and pair."""
    return [
        _verdict(task, pair, rows, results, directory)
        for task, pair, rows in by_task_and_pair(results.results)
    ]


def overall_verdict(found: Sequence[Verdict]) -> str:
    """Return the verdict on all tasks and pairs."""
    return " ".join(overall_sentences(found))


def overall_sentences(found: Sequence[Verdict]) -> list[str]:
    """Return the sentences on all tasks and pairs, those of a single one as they are."""
    if len(found) == 1:
        return [*found[0].ranking, *found[0].advice]
    found = _by_place(found)
    first = group_by(
        ((leader, item) for item in found for leader in item.leaders),
        lambda pair: pair[0].temperature,
    )
    by_words = group_by(first, lambda t: _by_leader(first[t], len(found)))
    parts = [
        f"By block efficiency at {_temperatures(several)}: {words}{_lead(first, several)}."
        for words, several in by_words.items()
    ]
    parts += serving_verdict([(item.task, item.serving) for item in found])
    if odd := [item.task for item in found if item.disagrees]:
        parts.append(f"Block efficiency and speed disagree on {all_listed(odd)}.")
    return parts


def _by_place(found: Sequence[Verdict]) -> Sequence[Verdict]:
    """Return verdicts whose tasks name the pair, too, if there are several pairs."""
    if len({item.pair for item in found}) == 1:
        return found
    return [replace(item, task=f"{item.task} ({item.pair})") for item in found]


def alarm(results: Results) -> Iterator[str]:
    """Yield that nobody may compare the numbers, if checks found errors."""
    errors = sum(finding.severity == "error" for finding in results.findings)
    if errors:
        yield f"Do not compare these numbers: checks found errors ({errors})."


def limits_of(results: Results) -> Iterator[str]:
    """Yield what a run cannot say, as sentences; the gravest first, after any alarm."""
    yield from (f"{warning}." for warning in artefact_warnings(results))
    yield from shortcomings(results)


def brief_limits(results: Results) -> Iterator[str]:
    """Yield what a run cannot say, with one sentence on the texts of all tasks."""
    if tasks := artefact_tasks(results):
        yield (
            f"Most of the target's texts on {listed(tasks)} are cut, empty or repetitive: no "
            "verdict holds for other texts."
        )
    yield from shortcomings(results)


def shortcomings(results: Results) -> Iterator[str]:
    """Yield what failed, which drafts did not learn, and what one seed cannot say."""
    failed = [f"{row.cell.method} on {row.cell.task}" for row in results.results if row.failure]
    if failed:
        yield f"Failed: {listed(list(dict.fromkeys(failed)))}."
    still = group_by(
        (row.cell for row in results.results if validation_history.learned_nothing(row.history)),
        lambda cell: cell.method,
    )
    if still:
        named = [
            f"{name} on {listed(list(dict.fromkeys(cell.task for cell in cells)))}"
            for name, cells in still.items()
        ]
        yield f"Training did not improve {'; '.join(first_names(named))}."
    if results.server is not None:
        return
    if trains_nothing(results.results):
        if not results.recipe.get("speed"):
            yield "To measure speed: --engine vllm (draftmark score), or speed in the recipe."
    elif {len(seeds) for seeds in seeds_by_task(results.results).values()} == {1}:
        yield "One seed: another training may land elsewhere."


def _verdict(
    task: str, pair: str, rows: Sequence[Result], results: Results, directory: Path
) -> Verdict:
    leaders = tuple(_leaders(task, pair, results))
    cases = serving_cases(rows, results, directory)
    case = first_case(cases)
    ranking = tuple(_ranking(leaders)) or (_alone(task, pair, results),)
    advice = tuple(_advice(case, cases, leaders))
    return Verdict(task, pair, leaders, case, ranking, advice, tuple(cases))


def _alone(task: str, pair: str, results: Results) -> str:
    """Return the block efficiency of the only method that has one, as a sentence."""
    shown = {}
    for temperature in temperatures_of(results):
        key = quantity_key("block_efficiency", temperature, gamma_of(results))
        for contender, numbers in results.numbers.items():
            if (contender.task, contender.pair) == (task, pair) and key in numbers:
                at = f"{number_text(numbers[key], 2)} tokens per pass of the target"
                shown[contender.method, temperature] = f"{at} at T={temperature:g}"
    if len({method for method, _ in shown}) != 1:
        return "No two methods have numbers to compare."
    method = next(iter(shown))[0]
    return f"{method} has {all_listed(list(shown.values()))}; no other method has numbers."


def _leaders(task: str, pair: str, results: Results) -> Iterator[Leader]:
    for temperature in temperatures_of(results):
        key = quantity_key("block_efficiency", temperature, gamma_of(results))
        ranked = [
            item
            for item in results.standings
            if item.quantity == key and (item.contender.task, item.contender.pair) == (task, pair)
        ]
        if ranked:
            first, *others = ranked
            same = [item for item in others if set(item.letters) & set(first.letters)]
            tied = tuple(item.contender.method for item in same)
            behind = next((item for item in others if item not in same), None)
            value = results.numbers[first.contender][key]
            yield Leader(temperature, first.contender.method, value, tied, behind)


def _ranking(leaders: Sequence[Leader]) -> Iterator[str]:
    """Yield the sentences on the order of methods, one for temperatures of the same order."""
    orders = group_by(leaders, lambda leader: (leader.method, leader.tied, leader.next_method))
    for (method, tied, behind), same in orders.items():
        at = _temperatures([leader.temperature for leader in same])
        values = all_listed([number_text(leader.value, 2) for leader in same])
        value = f"{values} tokens per pass of the target"
        if behind is None:
            yield f"At {at} no method is ahead of the others: {same[0].names}, {value}."
            continue
        known = [leader.next.behind for leader in same if leader.next and leader.next.behind]
        distances = all_listed([number_text(number, 2) for number in known])
        ahead = f"ahead of {behind}" + (f" by {distances}" if len(known) == len(same) else "")
        tie = f"; {listed(tied)} cannot be told apart from it" if tied else ""
        yield f"At {at} {method} {'has' if tied else 'is first with'} {value}, {ahead}{tie}."


def _advice(case: Case | None, cases: Sequence[Case], leaders: Sequence[Leader]) -> Iterator[str]:
    """Yield the sentences on what to serve with."""
    if case is None:
        yield "Speed was not measured."
        return
    first, *tied = drafts_to_serve(case.advice) or ("",)
    yield _to_serve(first, case)
    if tied:
        yield f"{listed(tied)} {'are' if len(tied) > 1 else 'is'} not significantly slower."
    if doubt := doubt_of(case.advice):
        yield as_sentence(doubt_text(doubt))
    yield from _disagreement(case, leaders)
    same = [item for item in cases if (item.temperature, item.how) == (case.temperature, case.how)]
    if len(same) > 1:
        yield as_sentence(batch_sizes_text(same).replace("**", ""))


def _to_serve(first: str, case: Case) -> str:
    """Return the draft to serve with and its speedup as a sentence; `first` is "" for none."""
    under = f"({condition_text(case)})"
    if first:
        advice = case.advice[first]
        many = f"num_speculative_tokens = {advice.gamma}"
        return f"Serve {first}, {many}: {speedup_text(advice)} times as fast {under}."
    best = max(case.advice, key=lambda name: case.advice[name].estimate.value)
    advice = case.advice[best]
    value = speedup_text(advice, advice.highest)
    return f"Serve without a draft: none is known to pay; at best {best}, {value} {under}."


def _disagreement(case: Case, leaders: Sequence[Leader]) -> Iterator[str]:
    """Yield a sentence if the draft to serve is not among the first by block efficiency."""
    served = re.sub(r", seed \d+$", "", next(iter(drafts_to_serve(case.advice)), ""))
    for leader in leaders:
        names = ("", leader.method, *leader.tied)
        if leader.temperature == case.temperature and served not in names:
            yield f"Block efficiency puts {leader.names} first, speed does not."


def _by_leader(found: Sequence[tuple[Leader, Verdict]], tasks: int) -> str:
    """Return which methods are first on which tasks at one temperature."""
    groups = group_by(found, lambda item: item[0].names)
    if len(groups) == 1 and len(found) == tasks:
        return f"{next(iter(groups))} first on all {tasks} tasks"
    if len(groups) > _ORDERS:
        return _often_first([leader for leader, _ in found])
    return "; ".join(
        f"{names} first on {all_listed([item.task for _, item in group])}"
        for names, group in groups.items()
    )


def _often_first(leaders: Sequence[Leader]) -> str:
    """Return on how many tasks the most frequent methods are first or tied with the first."""
    counts = Counter(name for leader in leaders for name in (leader.method, *leader.tied))
    by_number = group_by(counts, lambda name: counts[name])
    first, *others = sorted(by_number.items(), reverse=True)[:2]
    text = (
        f"{all_listed(first_names(first[1]))} first or tied on {first[0]} of {len(leaders)} tasks"
    )
    return text + "".join(f"; {all_listed(first_names(names))} on {n}" for n, names in others)


def _lead(first: Mapping[float, Sequence[tuple[Leader, Verdict]]], at: Sequence[float]) -> str:
    """Return the least distance to the next method; empty if some first methods are tied."""
    leaders = [leader for temperature in at for leader, _ in first[temperature]]
    behind = [leader.next.behind for leader in leaders if leader.next and not leader.tied]
    known = [number for number in behind if number]
    if len(known) < len(leaders):
        return ""
    least = min(known, key=lambda number: number.value)
    return f", ahead of the next by {number_text(least, 2)} tokens per pass or more"


def _temperatures(found: Sequence[float]) -> str:
    return all_listed([f"T={temperature:g}" for temperature in found])
