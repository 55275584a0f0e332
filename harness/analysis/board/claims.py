"""The checks of a submission by itself: what it claims is computed again, nothing is believed.

Each check yields one sentence for each fault. The checks of a stage need what earlier stages hold.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from draftmark.analysis.board.board import Board
from draftmark.analysis.board.count_checks import count_faults
from draftmark.analysis.board.counts import RATED
from draftmark.analysis.board.submission import Submission, folder_name, speed_engine
from draftmark.analysis.board.suite import Suite
from draftmark.analysis.fairness import data_findings
from draftmark.analysis.summary import quantity_number
from draftmark.results import Number, Results
from draftmark.store.graph import json_digest

_LONGEST = 200  # characters of a label
_MARKUP = re.compile(r"[<>`\\]|\.\.|&#?\w+;")
_CLOSE = 1e-6  # relative, of numbers that are computed again
_FASTEST = 1000.0  # times as fast; no draft is


def claim_faults(submission: Submission, board: Board, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the check and the sentence of each fault; a stage with faults is the last one."""
    for stage in _STAGES:
        found = [
            (name, text)
            for name, check in stage.items()
            for text in check(submission, board, folder)
        ]
        yield from found
        if found:
            return


def _names(submission: Submission, board: Board, folder: Path) -> Iterator[str]:
    header = submission.header
    here = folder.parent.parent.name, folder.parent.name
    for what, said, found in zip(
        ("target", "draft"), (header.target, header.draft), here, strict=True
    ):
        if said != found:
            yield f"the {what} {said} lies in a folder of {found}"
    for label in dict.fromkeys(_labels(submission)):
        if len(label) > _LONGEST:
            yield f"a name has {len(label)} characters; {_LONGEST} are enough"
        elif _MARKUP.search(label) or not label.isprintable():
            yield f"{label!r} has markup, control characters or dots that lead upwards"


def _labels(submission: Submission) -> Iterator[str]:
    """Yield what pages and commands print of a submission, but for its recipe and findings."""
    header, results = submission.header, submission.results
    yield from (name for item in results.pooled for name in item.numbers)
    yield from (results.name, results.title, header.draftmark, header.machine, header.suite)
    yield from (text for pair in header.engines.items() for text in pair)
    yield from (f"{name} {value}" for name, value in results.manifest["versions"].items())
    yield from results.manifest.get("plugins", {})
    yield str(results.commit.get("commit"))
    for row in results.results:
        yield from (row.cell.task, row.cell.pair, row.cell.method, *row.numbers)
    for facts in results.data:
        yield from (facts["target"], facts["draft"], facts["target_digest"])


def _rows(submission: Submission, board: Board, folder: Path) -> Iterator[str]:
    """Yield rows that are there twice, of several drafts, failed, or without data."""
    results = submission.results
    cells = Counter(row.cell for row in results.results)
    if not cells:
        yield "it has no rows"
    for cell, times in cells.items():
        if times > 1:
            yield f"{cell.task}, seed {cell.seed} is there {times} times"
    if len({(cell.pair, cell.method) for cell in cells}) > 1:
        yield "its rows are of several drafts; each draft is a submission of its own"
    tasks = [facts["task"] for facts in results.data]
    if sorted(tasks) != sorted(submission.cells):
        yield "its data are not those of its rows"
    seeds = {
        tuple(results.results[place].cell.seed for place in places)
        for places in submission.cells.values()
    }
    if len(seeds) > 1:
        yield "its tasks have different seeds"
    for row in results.results:
        if row.failure:
            yield f"{row.cell.task}, seed {row.cell.seed} failed"
    if {it.contender for it in results.pooled} - {cell.contender for cell in cells}:
        yield "it has pooled numbers of another draft"
    yield from _not_packed(results)


def _not_packed(results: Results) -> Iterator[str]:
    """Yield what results have that no submission has, as `pack_run` leaves it out."""
    empty = replace(results, comparisons=(), standings=(), block_comparisons=(), block_standings=())
    if results != empty:
        yield "it has comparisons with other drafts"
    if results.server is not None:
        yield "it was measured at a server, which writes its own texts"
    kept = ("records", "history", "speed_failures", "speed_refusals")
    if any(getattr(row, name) for row in results.results for name in kept):
        yield "its rows name records or failures that no submission has"


def _date(submission: Submission, board: Board, folder: Path) -> Iterator[str]:
    """Yield a date that is none, or to come: a draft's newest submission stands in the tables."""
    try:
        day = date.fromisoformat(submission.header.date)
    except ValueError:
        yield f"it was submitted on {submission.header.date}, which is no day"
        return
    if day > (datetime.now(UTC) + timedelta(days=1)).date():  # somewhere on earth
        yield f"it was submitted on {day}, a day to come"


def _suite(submission: Submission, board: Board, folder: Path) -> Iterator[str]:
    header = submission.header
    suite = board.suites.get(header.suite)
    if suite is None:
        yield f"{header.suite} is not a suite of this board, which takes {', '.join(board.suites)}"
    elif header.suite_digest != suite.digest:
        yield f"its {header.suite} is not this board's: the hashes differ; update draftmark"


def _prompts(submission: Submission, board: Board, folder: Path) -> Iterator[str]:
    """Yield tasks whose prompts are not the suite's, by data, texts and grades alike."""
    suite = board.suites[submission.header.suite]
    for task, facts in submission.data.items():
        frozen = suite.tasks.get(task)
        if frozen is None:
            yield f"{task} is not a task of {suite.name}"
            continue
        seen = {facts["digest"]["test"]}
        for place in submission.cells[task]:
            provenance = submission.results.results[place].provenance
            seen |= {text["rows"] for text in provenance.get("scored_texts") or [{"rows": ""}]}
        if seen != {frozen.digest} or facts["task_version"] != frozen.version:
            yield f"{task} was measured on other prompts than those of {suite.name}"


def _target(submission: Submission, board: Board, folder: Path) -> Iterator[str]:
    header = submission.header
    digests = {facts["target_digest"] for facts in submission.results.data}
    names = {folder_name(facts["target"]) for facts in submission.results.data}
    names |= {
        folder_name(pair["target"])
        for pair in submission.results.recipe["pairs"]
        if pair["name"] in {row.cell.pair for row in submission.results.results}
    }
    if len(digests) != 1:
        yield "its tasks were measured on several targets: the hashes of their files differ"
    if names != {header.target}:
        yield f"its rows are of other targets than {header.target}: {', '.join(sorted(names))}"
    for name in board.targets:
        if name != header.target and name.lower() == header.target.lower():
            yield f"{header.target} and {name} of this board differ by upper and lower case alone"
    pinned = board.targets.get(header.target)
    if pinned and digests != {pinned}:
        yield f"its target's files are not those of {header.target} on this board"
    for task, facts in submission.data.items():
        files = facts.get("models", {}).get("target", {}).get("files")
        if files and not facts.get("fine_tuning") and json_digest(files) != facts["target_digest"]:
            yield f"{task}: the hash of the target is not that of its files"


def _conditions(submission: Submission, board: Board, folder: Path) -> Iterator[str]:
    """Yield cells whose conditions are not the suite's, or that lack a hash of their texts."""
    suite = board.suites[submission.header.suite]
    for place, row in enumerate(submission.results.results):
        own = [at for at in submission.counts if at.cell == place]
        where = f"{row.cell.task}, seed {row.cell.seed}"
        if not own:
            yield f"{where} has no counts"
        for temperature in dict.fromkeys(at.temperature for at in own):
            rules = {at.verification for at in own if at.temperature == temperature}
            gammas = {at.gamma for at in own if at.temperature == temperature}
            if not _in_suite(suite, temperature, rules, gammas):
                yield f"{where}: temperature {temperature:g} has other conditions than {suite.name}"
            first = submission.text_digest(row.cell.task, temperature)
            if not first or row.provenance.get("text_digests", {}).get(f"{temperature:g}") != first:
                yield f"{where}: the hash of its texts at temperature {temperature:g} is not known"


def _in_suite(suite: Suite, temperature: float, rules: set[Any], gammas: set[int]) -> bool:
    known = temperature in suite.temperatures and "standard" in rules
    return known and rules <= {*suite.verifications} and gammas == {*suite.gammas}


def _counts(submission: Submission, board: Board, folder: Path) -> Iterator[str]:
    yield from count_faults(submission, board.suites[submission.header.suite])


def _numbers(submission: Submission, board: Board, folder: Path) -> Iterator[str]:
    """Yield claimed numbers that are not what the counts give, or that no counts give."""
    ends_too = submission.header.draftmark == version("draftmark")
    for task, claims, exact in _claimed(submission):
        for key, number in claims.items():
            if key.partition("[")[0] not in RATED:
                if not speed_engine(key):
                    yield f"{task}: {key} is claimed, which is no number of a board"
            elif key not in exact:
                yield f"{task}: {key} is claimed, and no counts are of it"
            elif not _agree(number, exact[key], ends_too=ends_too):
                given = f"its counts give {_shown(exact[key])}"
                yield f"{task}: {key} is claimed as {_shown(number)}; {given}"


def _claimed(
    submission: Submission,
) -> Iterator[tuple[str, Mapping[str, Number], Mapping[str, Number]]]:
    """Yield each task with the claims of a seed, or of all, and with what its counts give."""
    for task, places in submission.cells.items():
        for place, found in zip(places, submission.seeds[task].values(), strict=True):
            exact = {key: quantity_number(item) for key, item in found.items()}
            yield task, submission.results.results[place].numbers, exact
        for item in submission.results.pooled:
            if item.contender.task == task:
                yield task, item.numbers, submission.numbers[task]


def _agree(claimed: Number, exact: Number, *, ends_too: bool) -> bool:
    """True if a claim is what was computed; intervals of other versions may differ."""
    pairs: list[tuple[float | None, float | None]] = [(claimed.value, exact.value)]
    if ends_too:
        pairs += [(claimed.low, exact.low), (claimed.high, exact.high)]
    return claimed.n == exact.n and all(
        one == other
        or (one is not None and other is not None and math.isclose(one, other, rel_tol=_CLOSE))
        for one, other in pairs
    )


def _shown(number: Number) -> str:
    ends = "" if number.low is None else f" [{number.low:.4f}, {number.high:.4f}]"
    return f"{number.value:.4f}{ends}, n = {number.n}"


def _speeds(submission: Submission, board: Board, folder: Path) -> Iterator[str]:
    """Yield speedups that cannot be, or that are of no machine."""
    for task, claims, _ in _claimed(submission):
        for key, number in claims.items():
            if not key.startswith("speedup"):
                continue
            low, high = (number.value if end is None else end for end in (number.low, number.high))
            if not 0 < low <= number.value <= high < _FASTEST:
                yield f"{task}: {key} is claimed as {_shown(number)}, which cannot be"
            elif not (submission.header.machine and speed_engine(key)):
                yield f"{task}: {key} is of no machine or no engine"


def _findings(submission: Submission, board: Board, folder: Path) -> Iterator[str]:
    """Yield errors of the fairness and leak checks: those stored, and those found again."""
    results = submission.results
    again = data_findings(results.results, results.data)
    errors = [it for it in (*again, *results.findings) if it.severity == "error"]
    yield from dict.fromkeys(f"{it.subject}: {it.text}" for it in errors)
    yield from _test_rows_read(submission, board)
    stored = {(item.subject, item.text) for item in results.findings}
    for item in again:
        if item.severity == "warning" and (item.subject, item.text) not in stored:
            yield f"it leaves out a warning: {item.subject}: {item.text}"
    for row in results.results:
        if row.ledger and row.ledger.steps and not row.provenance.get("draft_texts"):
            where = f"{row.cell.task}, seed {row.cell.seed}"
            yield f"{where} was trained for {row.ledger.steps} steps on texts that it does not name"


def _test_rows_read(submission: Submission, board: Board) -> Iterator[str]:
    """Yield test rows of the board's suites that trained the draft, or fine-tuned the target."""
    suites = board.suites.values()
    known = {
        own.digest: f"{t} of {suite.name}" for suite in suites for t, own in suite.tasks.items()
    }
    for row in submission.results.results:
        tuned = submission.data[row.cell.task].get("fine_tuning") or {"texts": ()}
        texts = {"draft": row.provenance["draft_texts"], "target": tuned["texts"]}
        for what, found in texts.items():
            for digest in sorted({text["rows"] for text in found} & known.keys()):
                where = f"{row.cell.task}, seed {row.cell.seed}"
                yield f"{where}: its {what} was trained on test rows, {known[digest]}"


_Check = Callable[[Submission, Board, Path], Iterator[str]]
_STAGES: Sequence[Mapping[str, _Check]] = (
    {"names": _names, "rows": _rows, "date": _date, "suite": _suite},
    {"prompts": _prompts, "target": _target},
    {"conditions": _conditions},
    {"counts": _counts, "findings": _findings},
    {"numbers": _numbers, "speeds": _speeds},
)
