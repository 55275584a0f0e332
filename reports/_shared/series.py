"""A rate over runs: the number of each contender in each run, ordered by commit date."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from draftmark.analysis.change_points import find_steps
from draftmark.analysis.quantities import quantity_key
from draftmark.analysis.stored_runs import RunSummary, summaries
from draftmark.errors import UserError
from draftmark.reports._shared.rows import draft_title
from draftmark.results import Contender, Number, Results

Key = tuple[Contender, float, int]  # contender, temperature, block length


@dataclass(frozen=True)
class DatedRun:
    """A run with the date of its commit, or of its results file without a git checkout."""

    given: int  # its place among the runs as they were given
    commit: str  # empty without a git checkout
    date: datetime
    place: int = 0  # position among all runs; the oldest is 0

    @property
    def label(self) -> str:
        """The run's commit and day."""
        return f"{self.commit[:8] or 'no commit'} {self.date:%Y-%m-%d}"


@dataclass(frozen=True)
class Series:
    """A contender's numbers over runs, the oldest first, and the steps between levels."""

    contender: Contender
    temperature: float
    gamma: int
    points: tuple[tuple[DatedRun, Number | None], ...]  # None: the contender failed in this run
    steps: tuple[int, ...] = ()  # indices in `known` at which a new level starts

    @property
    def known(self) -> list[tuple[DatedRun, Number]]:
        """The points that have a number."""
        return [(run, number) for run, number in self.points if number]

    @property
    def title(self) -> str:
        """The name of the series."""
        return draft_title(self.contender, self.temperature)


@dataclass(frozen=True)
class RatedRun:
    """A run with the numbers of one rate; None: the contender failed."""

    run: DatedRun
    numbers: Mapping[Key, Number | None]


def rated_runs(found: Sequence[tuple[Results, Path]], rate: str) -> list[RatedRun]:
    """Return runs with a rate's numbers, the oldest first; one run at a time is in memory."""
    return in_order([rated_run(*item, given, rate) for given, item in enumerate(summaries(found))])


def rated_run(summary: RunSummary, directory: Path, given: int, rate: str) -> RatedRun:
    """Return a run with a rate's numbers at the block length of its recipe."""
    return RatedRun(dated_run(summary, directory, given), dict(_numbers(summary, rate)))


def in_order(runs: Sequence[RatedRun]) -> list[RatedRun]:
    """Return runs with their places, the oldest first."""
    ordered = sorted(runs, key=lambda item: item.run.date)
    return [replace(item, run=replace(item.run, place=place)) for place, item in enumerate(ordered)]


def dated_run(summary: RunSummary, directory: Path, given: int) -> DatedRun:
    """Return a run with its date."""
    git, file = summary.commit, directory / "results.json"
    written = file.stat().st_mtime if file.is_file() else 0.0
    day = git.get("date")
    date = _date(day) if day else datetime.fromtimestamp(written, UTC)
    return DatedRun(given, git.get("commit") or "", date.astimezone(UTC))


def _date(day: str) -> datetime:
    try:
        return datetime.fromisoformat(day)
    except ValueError as error:
        raise UserError(f"A run's commit has the date {day!r}; run the recipe again.") from error


def _numbers(summary: RunSummary, rate: str) -> Iterator[tuple[Key, Number | None]]:
    for item in summary.contenders:
        for temperature in summary.temperatures:
            key = quantity_key(rate, temperature, summary.gamma)
            yield (item.contender, temperature, summary.gamma), item.numbers.get(key)


def series_over(runs: Sequence[RatedRun], least: float) -> Iterator[Series]:
    """Yield the series of every contender and temperature; `least`: the smallest step."""
    found: dict[Key, list[tuple[DatedRun, Number | None]]] = {}
    for item in runs:
        for key, number in item.numbers.items():
            found.setdefault(key, []).append((item.run, number))
    for (contender, temperature, gamma), points in found.items():
        series = Series(contender, temperature, gamma, tuple(points))
        levels = find_steps([number.value for _, number in series.known], least)
        yield replace(series, steps=tuple(levels))
