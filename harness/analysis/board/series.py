"""The submissions of a draft over time: its rates and speeds, and where they changed.

Two submissions whose target and texts have equal hashes were scored on the same tokens, so their
difference is paired on prompts. A longer series has levels too, as `draftmark trend` finds them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from draftmark.analysis.board.counts import Condition
from draftmark.analysis.board.submission import Submission, speed_engine
from draftmark.analysis.board.suite import Suite
from draftmark.analysis.board.tables import speedups
from draftmark.analysis.change_points import find_steps
from draftmark.analysis.comparisons import paired_test
from draftmark.analysis.significance import LEVEL
from draftmark.results import Number

RATE = "acceptance_rate"
_LEAST_RATE, _LEAST_SPEEDUP = 0.01, 0.05  # the smallest changes of level
_Key = tuple[str, float]  # task, temperature


@dataclass(frozen=True)
class Line:
    """A task's numbers with their places in the series, and the places that start a lower level."""

    task: str
    points: Sequence[tuple[int, Number]]
    falls: Sequence[int]


@dataclass(frozen=True)
class SpeedLines:
    """The speedups of a draft on one machine with one engine and setting, over its versions."""

    machine: str
    key: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Change:
    """What changed from one submission to the next; None if no difference can be paired."""

    task: str
    temperature: float
    before: Submission
    after: Submission
    difference: Number | None
    is_significant: bool = False

    @property
    def is_regression(self) -> bool:
        """True if the rate fell significantly, and by as much as counts in a trend."""
        return self.is_large and self.difference is not None and self.difference.value < 0

    @property
    def is_large(self) -> bool:
        """True if the change is significant, and not as small as rounding makes it."""
        size = abs(self.difference.value) if self.difference else 0.0
        return self.is_significant and size >= _LEAST_RATE


def series_of(submissions: Sequence[Submission]) -> dict[tuple[str, str], list[Submission]]:
    """Return the submissions of each suite and draft, the oldest first."""
    found: dict[tuple[str, str], list[Submission]] = {}
    for item in sorted(submissions, key=lambda item: item.when):
        found.setdefault((item.header.suite, item.name), []).append(item)
    return found


def rate_lines(series: Sequence[Submission], suite: Suite) -> dict[float, list[Line]]:
    """Return the acceptance rates of a series by temperature, a line for each task."""
    found: dict[float, dict[str, list[tuple[int, Number]]]] = {}
    for place, item in enumerate(series):
        for task, temperature in _measured(item, suite):
            number = item.numbers[task][_rate_key(temperature, suite)]
            found.setdefault(temperature, {}).setdefault(task, []).append((place, number))
    return {t: _lines(lines, _LEAST_RATE) for t, lines in sorted(found.items())}


def speed_lines(series: Sequence[Submission]) -> list[SpeedLines]:
    """Return the speedups of a series, for each machine, engine and setting."""
    found: dict[tuple[str, str], dict[str, list[tuple[int, Number]]]] = {}
    for place, item in enumerate(series):
        for task, key, number in speedups(item):
            lines = found.setdefault((item.header.machine, key), {})
            lines.setdefault(task, []).append((place, number))
    return [SpeedLines(*place, _lines(found[place], _LEAST_SPEEDUP)) for place in sorted(found)]


def engine_versions(item: Submission, key: str) -> str:
    """Return the version of the engine of a speedup; empty if the submission does not say it."""
    return item.header.engines.get(speed_engine(key), "")


def changes(series: Sequence[Submission], suite: Suite) -> list[Change]:
    """Return the changes of acceptance from each submission to the next.

    Their level is 5% for all tasks and temperatures of a submission together.
    """
    return [it for pair in pairwise(series) for it in _changes_between(*pair, suite)]


def _changes_between(before: Submission, after: Submission, suite: Suite) -> list[Change]:
    known = set(_measured(before, suite))
    both = [at for at in _measured(after, suite) if at in known]
    return [_change(before, after, at, suite, LEVEL / len(both)) for at in both]


def regressions(series: Sequence[Submission], suite: Suite) -> Iterator[Change]:
    """Yield what fell significantly in the newest submission of a series."""
    yield from (it for it in changes(series[-2:], suite) if it.is_regression)


def _change(before: Submission, after: Submission, at: _Key, suite: Suite, level: float) -> Change:
    task, temperature = at
    if _tokens(before, at) != _tokens(after, at):
        return Change(task, temperature, before, after, None)
    key = _rate_key(temperature, suite)
    test = paired_test(key, after.seeds[task], before.seeds[task])
    definition = f"{RATE} minus that of the submission before, paired on prompts"
    significant = test.p_value < level
    return Change(task, temperature, before, after, test.number(definition, level), significant)


def _tokens(item: Submission, at: _Key) -> tuple[str, str]:
    """Return the hashes of the target and of the texts that a task's drafts were scored on."""
    return item.target_digest, item.text_digest(*at)


def _measured(item: Submission, suite: Suite) -> list[_Key]:
    """Return the tasks and temperatures of a submission."""
    first = {places[0]: task for task, places in item.cells.items()}
    found = [
        (first[at.cell], at.temperature)
        for at in item.counts
        if at.cell in first and at.gamma == suite.gamma and at.verification == "standard"
    ]
    return [at for at in found if _rate_key(at[1], suite) in item.numbers[at[0]]]


def _rate_key(temperature: float, suite: Suite) -> str:
    return Condition(0, temperature, suite.gamma, "standard").key(RATE)


def _lines(found: Mapping[str, Sequence[tuple[int, Number]]], least: float) -> list[Line]:
    return [_line(task, points, least) for task, points in found.items()]


def _line(task: str, points: Sequence[tuple[int, Number]], least: float) -> Line:
    values = [number.value for _, number in points]
    edges = [0, *find_steps(values, least), len(values)]
    levels = [fmean(values[start:end]) for start, end in pairwise(edges)]
    falls = [
        points[start][0]
        for start, (before, after) in zip(edges[1:], pairwise(levels), strict=False)
        if after < before
    ]
    return Line(task, points, falls)
