"""The tables of a board: rows that pair, of one suite, target, text and condition.

Two rows stand in one table only if target and texts have equal hashes: then both were scored on the
same tokens, and their difference is paired on prompts. Speeds stand apart, by machine, engine and
version of the engine.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from draftmark.analysis.board.board import Board
from draftmark.analysis.board.counts import Condition
from draftmark.analysis.board.submission import Submission, speed_engine
from draftmark.analysis.board.suite import suite_names
from draftmark.analysis.comparisons import rank_by
from draftmark.analysis.summary import speed_of_seeds
from draftmark.results import Contender, Number, Standing
from draftmark.types import Verification

MOST_PAIRED = 40  # rows of a table whose pairs are tested; the others stand below by their value
Trust = Literal["rerun here", "reproducible", "reported"]
_COMMIT = re.compile("[0-9a-f]{40}")
TRUSTS: Mapping[Trust, str] = {
    "rerun here": "a run by the maintainers has every number of the row within its interval",
    "reproducible": "models, rows and code are public and pinned: by commits or by hashes",
    "reported": "something that the run needs is not public or not pinned",
}


class Terms(NamedTuple):
    """What all rows of a table share; equal terms make rows comparable."""

    suite: str
    target: str
    task: str
    temperature: float
    verification: Verification
    target_digest: str
    text_digest: str


@dataclass(frozen=True)
class TableRow:
    """A row: its rates at each block length of the suite, and its standing if it was paired."""

    submission: Submission
    efficiencies: Mapping[int, Number]
    acceptance: Number
    standing: Standing | None = None


@dataclass(frozen=True)
class Table:
    """Rows that pair, the best first; `other_texts` is how many tables differ by texts alone."""

    terms: Terms
    gamma: int
    rows: Sequence[TableRow]
    other_texts: int = 0


class SpeedTerms(NamedTuple):
    """What all rows of a table of speeds share; the condition has engine and settings."""

    suite: str
    target: str
    task: str
    machine: str
    engine: str
    version: str  # of the engine; empty if the submission has none
    condition: str


@dataclass(frozen=True)
class SpeedTable:
    """Speedups of a task on one machine, one version of an engine and one setting."""

    terms: SpeedTerms
    rows: Sequence[tuple[Submission, Number]]


def newest(submissions: Sequence[Submission]) -> list[Submission]:
    """Return the newest submission of each draft in each suite; earlier ones are its series."""
    ordered = sorted(submissions, key=lambda item: item.when)
    found = {(item.header.suite, item.name): item for item in ordered}
    return list(found.values())


def acceptance_tables(board: Board, submissions: Sequence[Submission]) -> list[Table]:
    """Return the tables of rates, those of the newest suite first."""
    groups: dict[Terms, list[tuple[Submission, int]]] = {}
    for submission in newest(submissions):
        for terms, cell in _terms_of(submission, board):
            groups.setdefault(terms, []).append((submission, cell))
    order = list(board.suites)
    found = sorted(groups, key=lambda terms: (order.index(terms.suite), terms[1:]))
    alike = [terms[:5] for terms in found]
    return [
        Table(
            terms,
            board.suites[terms.suite].gamma,
            _ranked(terms, groups[terms], board.suites[terms.suite].gammas, board),
            alike.count(terms[:5]) - 1,
        )
        for terms in found
    ]


def _terms_of(submission: Submission, board: Board) -> Iterator[tuple[Terms, int]]:
    """Yield the terms of each task and condition, with the place of the task's first cell."""
    header, gamma = submission.header, board.suites[submission.header.suite].gamma
    first = {places[0]: task for task, places in submission.cells.items()}
    for at in submission.counts:
        if at.gamma == gamma and at.cell in first:
            task = first[at.cell]
            texts = submission.text_digest(task, at.temperature)
            condition = (task, at.temperature, at.verification, submission.target_digest, texts)
            yield Terms(header.suite, header.target, *condition), at.cell


def _ranked(
    terms: Terms,
    members: Sequence[tuple[Submission, int]],
    gammas: Sequence[int],
    board: Board,
) -> list[TableRow]:
    gamma = board.suites[terms.suite].gamma
    rows = [_row(submission, cell, terms, gammas, gamma) for submission, cell in members]
    rows.sort(key=lambda row: -row.efficiencies[gamma].value)
    paired, others = rows[:MOST_PAIRED], rows[MOST_PAIRED:]
    key = Condition(0, terms.temperature, gamma, terms.verification).key("block_efficiency")
    contenders = {
        Contender(terms.task, terms.target, row.submission.hash): row.submission.seeds[terms.task]
        for row in paired
    }
    several = len(paired) > 1 and paired[0].acceptance.n > 1
    standings = rank_by(key, list(contenders), contenders) if several else []
    known = {item.contender.method: item for item in standings}
    paired = [
        TableRow(it.submission, it.efficiencies, it.acceptance, known.get(it.submission.hash))
        for it in paired
    ]
    return [*paired, *others]


def _row(
    submission: Submission, cell: int, terms: Terms, gammas: Sequence[int], gamma: int
) -> TableRow:
    numbers = submission.numbers[terms.task]
    at = {g: Condition(cell, terms.temperature, g, terms.verification) for g in gammas}
    efficiencies = {g: numbers[own.key("block_efficiency")] for g, own in at.items()}
    return TableRow(submission, efficiencies, numbers[at[gamma].key("acceptance_rate")])


def speed_tables(submissions: Sequence[Submission]) -> list[SpeedTable]:
    """Return the tables of speedups, the highest first in each."""
    groups: dict[SpeedTerms, list[tuple[Submission, Number]]] = {}
    for submission in newest(submissions):
        header = submission.header
        for task, key, number in speedups(submission):
            engine = speed_engine(key)
            version = header.engines.get(engine, "")
            place = (header.suite, header.target, task, header.machine, engine, version)
            groups.setdefault(SpeedTerms(*place, key), []).append((submission, number))
    return [
        SpeedTable(terms, sorted(groups[terms], key=lambda row: -row[1].value))
        for terms in sorted(groups)
    ]


def speedups(submission: Submission) -> Iterator[tuple[str, str, Number]]:
    """Yield task, key and number of each speedup that a submission claims: its seeds' mean."""
    for task, places in submission.cells.items():
        claims = [submission.results.results[place].numbers for place in places]
        for key in claims[0]:
            if key.startswith("speedup[") and submission.header.machine:
                yield task, key, speed_of_seeds([own[key] for own in claims if key in own])


def trust_of(submission: Submission, reruns: Sequence[Submission] = ()) -> tuple[Trust, list[str]]:
    """Return a submission's trust, and why it is not reproducible from what is public.

    `reruns` are the maintainers' runs of the board's drafts.
    """
    for rerun in reruns:
        same = (rerun.name, rerun.header.suite) == (submission.name, submission.header.suite)
        if same and not disagreements(submission, rerun):
            return "rerun here", []
    reasons = list(dict.fromkeys(_not_public(submission)))
    return ("reported" if reasons else "reproducible"), reasons


def disagreements(row: Submission, rerun: Submission) -> list[str]:
    """Return the numbers of a row that are not within the interval of a run of the same draft."""
    return [
        f"{task}: {key}"
        for task, numbers in row.numbers.items()
        for key, number in numbers.items()
        if not _within(number.value, rerun.numbers.get(task, {}).get(key))
    ]


def _within(value: float, number: Number | None) -> bool:
    if number is None:
        return False
    low, high = (number.value if end is None else end for end in (number.low, number.high))
    return low <= value <= high


def _not_public(submission: Submission) -> Iterator[str]:
    manifest = submission.results.manifest
    commit = manifest.get("git") or {}
    if not _COMMIT.fullmatch(commit.get("commit", "")) or commit.get("dirty"):
        yield "draftmark's commit is not known, or was changed"
    for name, package in manifest.get("plugins", {}).items():
        if not _COMMIT.fullmatch(package.get("commit", "")) or package.get("dirty"):
            yield f"the plug-in {name} has no commit"
    for facts in submission.results.data:
        yield from _models_not_public(facts)
        for split in _splits_read(submission):
            if not str(facts["source"].get(split, "")).startswith(("hub ", "samples")):
                yield f"the {split} rows are of {facts['source'].get(split)}"


def _models_not_public(facts: Mapping[str, Any]) -> Iterator[str]:
    own = [item.get("model", {}) for item in facts.get("drafts", {}).values()]
    for model in [*facts.get("models", {}).values(), *own]:
        if model and not (model.get("commit") or model.get("source") == "draftmark"):
            yield f"the model {model.get('reference', '')} has no public commit"


def _splits_read(submission: Submission) -> Iterator[str]:
    """Yield the splits of rows that must be public: a suite of draftmark has public prompts."""
    if submission.header.suite not in suite_names():
        yield "test"
    if any(row.ledger and row.ledger.steps for row in submission.results.results):
        yield from ("train", "validation")
