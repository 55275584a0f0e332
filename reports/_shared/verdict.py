"""The verdict of a run: which method is first, by how much, what to serve with, and how sure.

Sentences are plain text; whoever prints them escapes them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from draftmark.analysis import validation_history
from draftmark.analysis.quantities import quantity_key
from draftmark.analysis.recommendation import doubt_of, drafts_to_serve
from draftmark.analysis.text_artefacts import artefact_warnings
from draftmark.reports._shared.content import number_text
from draftmark.reports._shared.recommendation import (
    Case,
    batch_sizes_text,
    doubt_text,
    doubts_text,
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
from draftmark.results import Number, Result, Results, Standing

_NAMES = 3  # methods named in a sentence


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
        return " or ".join(_some((self.method, *self.tied)))


@dataclass(frozen=True)
class Verdict:
    """What a run says about a task and pair; `serving` is the condition of the advice, if any."""

    task: str
    pair: str
    leaders: tuple[Leader, ...]
    serving: Case | None
    ranking: str
    advice: str
    cases: tuple[Case, ...] = ()  # all conditions

    @property
    def disagrees(self) -> bool:
        """True if the draft to serve is not among the first by block efficiency."""
        return self.serving is not None and any(_disagreement(self.serving, self.leaders))

    @property
    def text(self) -> str:
        """The verdict as sentences."""
        return " ".join(filter(None, (self.ranking, self.advice)))


def verdicts(results: Results, directory: Path) -> list[Verdict]:
    """Return the verdict on each task and pair."""
    return [
        _verdict(task, pair, rows, results, directory)
        for task, pair, rows in by_task_and_pair(results.results)
    ]


def overall_verdict(found: Sequence[Verdict]) -> str:
    """Return one sentence on all tasks and pairs; the sentences of a single one as they are."""
    if len(found) == 1:
        return found[0].text
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
    odd = [item.task for item in found if item.disagrees]
    if odd:
        parts.append(f"Block efficiency and speed disagree on {_listed(odd, len(odd))}.")
    return " ".join(parts)


def limits_of(results: Results) -> Iterator[str]:
    """Yield what a run cannot say, as sentences; the gravest first."""
    errors = sum(finding.severity == "error" for finding in results.findings)
    if errors:
        yield f"Do not compare these numbers: checks found errors ({errors})."
    yield from (f"{warning}." for warning in artefact_warnings(results))
    failed = [row.cell for row in results.results if row.failure]
    if failed:
        yield f"Failed: {_listed([f'{cell.method} on {cell.task}' for cell in failed])}."
    still = group_by(
        (row.cell for row in results.results if validation_history.learned_nothing(row.history)),
        lambda cell: cell.method,
    )
    if still:
        named = (
            f"{name} on {_listed([cell.task for cell in cells])}" for name, cells in still.items()
        )
        yield f"Training did not improve {'; '.join(named)}."
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
    ranking = " ".join(_ranking(leaders)) or _alone(task, pair, results)
    advice = _advice(case, cases, leaders)
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
    return f"{method} has {_listed(list(shown.values()), len(shown))}; no other method has numbers."


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
        values = _listed([number_text(leader.value, 2) for leader in same], len(same))
        value = f"{values} tokens per pass of the target"
        if behind is None:
            yield f"At {at} no method is ahead of the others: {same[0].names}, {value}."
            continue
        known = [leader.next.behind for leader in same if leader.next and leader.next.behind]
        distances = _listed([number_text(number, 2) for number in known], len(same))
        ahead = f"ahead of {behind}" + (f" by {distances}" if len(known) == len(same) else "")
        tie = f"; {_listed(tied)} cannot be told apart from it" if tied else ""
        yield f"At {at} {method} {'has' if tied else 'is first with'} {value}, {ahead}{tie}."


def _advice(case: Case | None, cases: Sequence[Case], leaders: Sequence[Leader]) -> str:
    """Return the sentence on what to serve with."""
    if case is None:
        return "Speed was not measured."
    first, *tied = drafts_to_serve(case.advice) or ("",)
    under = f"({condition_text(case)})"
    if not first:
        best = max(case.advice, key=lambda name: case.advice[name].estimate.value)
        advice = case.advice[best]
        value = speedup_text(advice, advice.highest)
        parts = [f"Serve without a draft: none is known to pay; at best {best}, {value} {under}."]
    else:
        advice = case.advice[first]
        many = f"num_speculative_tokens = {advice.gamma}"
        parts = [f"Serve {first}, {many}: {speedup_text(advice)} times as fast {under}."]
    if tied:
        parts.append(f"{_listed(tied)} is not significantly slower.")
    if doubt := doubt_of(case.advice):
        parts.append(f"{_sentence(doubt_text(doubt))}")
    parts += _disagreement(case, leaders)
    same = [item for item in cases if (item.temperature, item.how) == (case.temperature, case.how)]
    if len(same) > 1:
        parts.append(_sentence(batch_sizes_text(same).replace("**", "")))
    return " ".join(parts)


def _sentence(clause: str) -> str:
    """Return a clause, which starts with no name, as a sentence."""
    return f"{clause[:1].upper()}{clause[1:]}".removesuffix(".") + "."


def condition_text(case: Case) -> str:
    """Return the condition of a piece of advice in words."""
    return f"{case.how}, batch {case.batch}, T={case.temperature:g}"


def _disagreement(case: Case, leaders: Sequence[Leader]) -> Iterator[str]:
    """Yield a sentence if the draft to serve is not among the first by block efficiency."""
    served = next(iter(drafts_to_serve(case.advice)), "")
    for leader in leaders:
        names = (leader.method, *leader.tied)
        if leader.temperature == case.temperature and served and not served.startswith(names):
            yield f"Block efficiency puts {leader.names} first, speed does not."


def _by_leader(found: Sequence[tuple[Leader, Verdict]], tasks: int) -> str:
    """Return which methods are first on which tasks at one temperature."""
    groups = group_by(found, lambda item: item[0].names)
    if len(groups) == 1 and len(found) == tasks:
        return f"{next(iter(groups))} first on all {tasks} tasks"
    return "; ".join(
        f"{names} first on {_listed([item.task for _, item in group], len(group))}"
        for names, group in groups.items()
    )


def _lead(first: Mapping[float, Sequence[tuple[Leader, Verdict]]], at: Sequence[float]) -> str:
    """Return the least distance to the next method; empty if some first methods are tied."""
    leaders = [leader for temperature in at for leader, _ in first[temperature]]
    behind = [leader.next.behind for leader in leaders if leader.next and not leader.tied]
    known = [number for number in behind if number]
    if len(known) < len(leaders):
        return ""
    least = min(known, key=lambda number: number.value)
    return f", ahead of the next by {number_text(least, 2)} tokens per pass or more"


def serving_verdict(cases: Sequence[tuple[str, Case | None]]) -> Iterator[str]:
    """Yield sentences on what to serve with on which tasks; a task without advice has None."""
    known = [(task, case) for task, case in cases if case]
    groups = group_by(known, lambda place: next(iter(drafts_to_serve(place[1].advice)), ""))
    yield from _no_draft(groups.pop("", []))
    yield from _to_serve(groups)
    yield from _untold(known)
    missing = [task for task, case in cases if not case]
    if missing:
        on = f" on {_listed(missing, len(missing))}" if known else ""
        yield f"Speed was not measured{on}."


def _to_serve(groups: Mapping[str, Sequence[tuple[str, Case]]]) -> Iterator[str]:
    """Yield a sentence for the drafts to serve under the same conditions, with their speedups."""
    conditions = {
        draft: "; ".join(dict.fromkeys(condition_text(case) for _, case in group))
        for draft, group in groups.items()
    }
    for condition, drafts in group_by(groups, lambda draft: conditions[draft]).items():
        clauses = [
            f"{draft} on {_listed([task for task, _ in groups[draft]], len(groups[draft]))}: "
            f"{_speeds(draft, [case for _, case in groups[draft]])} times as fast"
            for draft in drafts
        ]
        yield f"Serve {'; '.join(clauses)} ({condition})."


def _untold(cases: Sequence[tuple[str, Case]]) -> Iterator[str]:
    """Yield a sentence for each two drafts of which a task's advice cannot tell the faster one."""
    doubts = [(doubt, task) for task, case in cases if (doubt := doubt_of(case.advice))]
    rivals = [(doubt, task) for doubt, task in doubts if doubt.rival]
    pairs = group_by(rivals, lambda it: (frozenset((it[0].draft, it[0].rival)), it[0].blocks))
    for found in pairs.values():
        worst = max((doubt.needed or math.inf for doubt, _ in found))
        needed = None if math.isinf(worst) else int(worst)
        on = f" on {_listed([task for _, task in found], len(found))}"
        yield _sentence(doubt_text(replace(found[0][0], needed=needed), on))


def _no_draft(group: Sequence[tuple[str, Case]]) -> Iterator[str]:
    """Yield on which tasks every draft is slower, and on which nobody can tell."""
    doubts = {task: doubt_of(case.advice) for task, case in group}
    slower = [task for task, doubt in doubts.items() if doubt is None]
    if slower:
        yield f"No draft pays on {_listed(slower, len(slower))}."
    unsure = {task: doubt for task, doubt in doubts.items() if doubt}
    if unsure:
        on = f" on {_listed(list(unsure), len(unsure))}"
        yield _sentence(doubts_text(list(unsure.values()), on))


def first_case(cases: Sequence[Case]) -> Case | None:
    """Return the condition of the verdict: the lowest temperature and batch, measured if it was."""
    return min(cases, key=lambda case: (case.temperature, case.batch), default=None)


def _speeds(draft: str, cases: Sequence[Case]) -> str:
    """Return the range of a draft's speedups over tasks."""
    values = sorted(math.exp(case.advice[draft].estimate.value) for case in cases)
    low, high = (f"{value:.2f}" for value in (values[0], values[-1]))
    return low if low == high else f"{low} to {high}"


def _temperatures(found: Sequence[float]) -> str:
    return _listed([f"T={temperature:g}" for temperature in found], len(found))


def _some(names: Sequence[str]) -> list[str]:
    """Return the first names, and how many more there are."""
    if len(names) <= _NAMES:
        return list(names)
    return [*names[: _NAMES - 1], f"{len(names) - _NAMES + 1} others"]


def _listed(names: Sequence[str], most: int = _NAMES) -> str:
    """Return names as a list in words; "" without any."""
    if not names:
        return ""
    shown = list(names) if len(names) <= most else _some(names)
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
