"""The verdict on what to serve with, in sentences: the drafts that pay, and what nobody can tell.

Sentences are plain text; whoever prints them escapes them.
"""

from collections.abc import Iterator, Mapping, Sequence

from draftmark.analysis.recommendation import Doubt, doubt_of, drafts_to_serve
from draftmark.reports._shared.recommendation import (
    Case,
    doubts_text,
    rivals_in_words,
    speedup_text,
)
from draftmark.reports._shared.rows import group_by
from draftmark.reports._shared.sentences import all_listed, as_sentence

Cases = Sequence[tuple[str, Case]]  # (task, its condition)


def condition_text(case: Case) -> str:
    """Return the condition of a piece of advice in words."""
    return f"{case.how}, batch {case.batch}, T={case.temperature:g}"


def first_case(cases: Sequence[Case]) -> Case | None:
    """Return the condition of the verdict: the lowest temperature and batch, measured if it was."""
    return min(cases, key=lambda case: (case.temperature, case.batch), default=None)


def serving_verdict(cases: Sequence[tuple[str, Case | None]]) -> Iterator[str]:
    """Yield sentences on what to serve with on which tasks; a task without advice has None."""
    known = [(task, case) for task, case in cases if case]
    groups = group_by(known, lambda place: next(iter(drafts_to_serve(place[1].advice)), ""))
    alone = groups.pop("", [])
    yield from _to_serve(groups)
    if slower := [task for task, case in alone if doubt_of(case.advice) is None]:
        yield f"No draft pays on {all_listed(slower)}."
    yield from _doubts(known)
    if missing := [task for task, case in cases if not case]:
        yield f"Speed was not measured{f' on {all_listed(missing)}' if known else ''}."


def _to_serve(groups: Mapping[str, Cases]) -> Iterator[str]:
    """Yield a sentence for the drafts to serve under the same conditions, with their speedups."""
    conditions = {
        draft: "; ".join(dict.fromkeys(condition_text(case) for _, case in group))
        for draft, group in groups.items()
    }
    for condition, drafts in group_by(groups, lambda draft: conditions[draft]).items():
        clauses = [
            f"{draft} on {_tasks(groups[draft])}: {_speed(draft, groups[draft])}"
            for draft in drafts
        ]
        yield f"Serve {'; '.join(clauses)} ({condition})."


def _tasks(cases: Cases) -> str:
    return all_listed([task for task, _ in cases])


def _speed(draft: str, cases: Cases) -> str:
    """Return a draft's lowest speedup over tasks, with its interval."""
    lowest = min((case.advice[draft] for _, case in cases), key=lambda it: it.estimate.value)
    return f"{speedup_text(lowest)} times as fast{' or more' if len(cases) > 1 else ''}"


def _doubts(cases: Cases) -> Iterator[str]:
    """Yield a sentence on what measured blocks cannot tell, and one on what a cost model cannot."""
    found = [(doubt, task) for task, case in cases if (doubt := doubt_of(case.advice))]
    for measured in (True, False):
        several = [pair for pair in found if bool(pair[0].blocks) == measured]
        if untold := _untold(several):
            yield as_sentence(doubts_text(untold))


def _untold(found: Sequence[tuple[Doubt, str]]) -> dict[str, list[Doubt]]:
    """Return the doubts by what they are about, in words: whether to draft, or two drafts."""
    groups = group_by(found, lambda pair: _drafts(pair[0]))
    return {
        f"{rivals_in_words(group[0][0]) or 'whether a draft pays'} on "
        f"{all_listed([task for _, task in group])}": [doubt for doubt, _ in group]
        for group in groups.values()
    }


def _drafts(doubt: Doubt) -> frozenset[str]:
    """Return the two drafts that a doubt is about; empty if it is whether to draft at all."""
    return frozenset((doubt.draft, doubt.rival)) if doubt.rival else frozenset()
