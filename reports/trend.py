"""A rate over many runs, in the order of their commits: each one's level, and where it changed."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from draftmark.analysis.change_points import FEWEST, steps
from draftmark.analysis.gate.comparable import by_weight, differing, undeclared
from draftmark.errors import UserError, unknown
from draftmark.reports._figures.trend import figure
from draftmark.reports._shared.escape import csv_text
from draftmark.reports._shared.markdown import escape, interval, table, three
from draftmark.results import Contender, Number, Results
from draftmark.text import plain

RATES = ("acceptance_rate", "draft_acceptance_rate", "block_efficiency", "accepted_per_pass")


@dataclass(frozen=True)
class Run:
    """A run, by when its code was committed, or else by when it was written."""

    results: Results
    commit: str  # "" of what is not from a git checkout
    date: datetime
    place: int = 0  # among all runs, the oldest first

    @property
    def label(self) -> str:
        """Its commit and day."""
        return f"{self.commit[:8] or 'no commit'} {self.date:%Y-%m-%d}"


@dataclass(frozen=True)
class Point:
    """A contender's number in a run; None if it failed there."""

    run: Run
    number: Number | None


@dataclass(frozen=True)
class Series:
    """A contender's numbers over runs, the oldest first, and where a new level starts."""

    contender: Contender
    temperature: float
    gamma: int
    points: tuple[Point, ...]
    steps: tuple[int, ...]  # places among the points that have numbers

    @property
    def known(self) -> list[tuple[Run, Number]]:
        """The runs that have a number, with it."""
        return [(point.run, point.number) for point in self.points if point.number]

    @property
    def title(self) -> str:
        """Whose it is, in words."""
        who = self.contender
        return f"{who.task}, {who.pair}, {who.method}, temperature {self.temperature:g}"


@dataclass(frozen=True)
class Trend:
    """The report, with the runs it is of (by default the one it is called with)."""

    runs: tuple[tuple[Results, Path], ...] = ()
    rate: str = "acceptance_rate"
    least: float = 0.01  # the smallest step that counts
    dates: bool = False  # draw runs apart by their dates, not evenly

    def __call__(self, results: Results, directory: Path) -> dict[str, str | bytes]:
        """Return trend.md and trend.csv, and trend.png if there is anything to draw.

        Raises UserError for an unknown rate or a step below 0.
        """
        if self.rate not in RATES:
            raise unknown("rate", self.rate, RATES)
        if not self.least > 0:
            raise UserError(f"A step of {self.least:g} is none; name one above 0, like 0.01.")
        found = [_run(*item) for item in self.runs or ((results, directory),)]
        ordered = sorted(found, key=lambda run: run.date)
        runs = [replace(run, place=place) for place, run in enumerate(ordered)]
        every = [_with_steps(item, self.least) for item in _series(runs, self.rate)]
        files: dict[str, str | bytes] = {
            "trend.md": self._markdown(runs, every),
            "trend.csv": _csv(every, self.rate),
        }
        if any(item.known for item in every):
            files["trend.png"] = figure(
                every, runs, self.rate.replace("_", " "), by_date=self.dates
            )
        return files

    def _markdown(self, runs: Sequence[Run], every: Sequence[Series]) -> str:
        name = self.rate.replace("_", " ")
        first, last = runs[0].label, runs[-1].label
        parts = [
            f"# Trend of {name}",
            f"{len(runs)} runs, from {escape(first)} to {escape(last)}, in the order of their "
            f"commits. A step: a change of level of {self.least:g} or more, that lasts.",
        ]
        if not any(item.known for item in every):
            return "\n\n".join([*parts, "No run has numbers: nothing to show."]) + "\n"
        parts += ["![The rate over runs](trend.png)", _levels(every)]
        parts += ["## Steps", _steps(every)]
        if len(runs) < FEWEST:
            parts.append(f"Fewer than {FEWEST} runs: too few to tell a step from noise.")
        if failed := list(_failed(every)):
            parts += ["## Failed", "\n".join(f"- {escape(line)}" for line in failed)]
        return "\n\n".join(parts) + "\n"


def _run(results: Results, directory: Path) -> Run:
    git = results.commit
    if git.get("date"):
        date = datetime.fromisoformat(git["date"])
    else:
        file = directory / "results.json"
        written = file.stat().st_mtime if file.is_file() else 0.0
        date = datetime.fromtimestamp(written, UTC)
    return Run(results, git.get("commit") or "", date.astimezone(UTC))


def _series(runs: Sequence[Run], rate: str) -> Iterator[Series]:
    found: dict[tuple[Contender, float, int], list[Point]] = {}
    for run in runs:
        told = run.results.recipe["evaluation"]
        gamma = told["num_speculative_tokens"]
        numbers = run.results.numbers
        for who in dict.fromkeys(row.cell.contender for row in run.results.results):
            own = numbers.get(who, {})
            for temperature in told["temperatures"]:
                number = own.get(f"{rate}[t={temperature:g},gamma={gamma}]")
                found.setdefault((who, temperature, gamma), []).append(Point(run, number))
    for (who, temperature, gamma), points in found.items():
        yield Series(who, temperature, gamma, tuple(points), ())


def _with_steps(item: Series, least: float) -> Series:
    found = steps([number.value for _, number in item.known], least)
    return replace(item, steps=tuple(found))


def _levels(every: Sequence[Series]) -> str:
    body = []
    for item in every:
        if known := item.known:
            (_, first), (_, last) = known[0], known[-1]
            change = f"{last.value - first.value:+.3f}"
            row = [f"{len(known)}", interval(first), interval(last), change, f"{len(item.steps)}"]
            body.append([f"{escape(item.title)}, blocks of {item.gamma}", *row])
    return table(["", "runs", "first", "last", "change", "steps"], body)


def _steps(every: Sequence[Series]) -> str:
    body = [row for item in every for row in _steps_of(item)]
    if not body:
        return "None found."
    header = ["", "first run of the new level", "before", "after", "what else changed there"]
    return table(header, body, "llrrl")


def _steps_of(item: Series) -> Iterator[list[str]]:
    known = item.known
    edges = [0, *item.steps, len(known)]
    for before, here, after in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
        levels = [_mean(known[before:here]), _mean(known[here:after])]
        older, newer = known[here - 1][0].results, known[here][0].results
        also = by_weight(undeclared(differing(older, newer), ()))
        shown = "; ".join(map(str, also[:3])) + ("; ..." if len(also) > 3 else "")
        where = escape(known[here][0].label)
        yield [escape(item.title), where, *map(three, levels), escape(shown) or "the commit alone"]


def _mean(points: Sequence[tuple[Run, Number]]) -> float:
    return sum(number.value for _, number in points) / len(points)


def _failed(every: Sequence[Series]) -> Iterator[str]:
    for item in every:
        if lost := [point.run.label for point in item.points if point.number is None]:
            yield f"{item.title}: no number in {len(lost)} runs, the last of them {lost[-1]}"


def _csv(every: Sequence[Series], rate: str) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = ["task", "pair", "method", "temperature", "gamma", "commit", "date", "quantity"]
    writer.writerow([*columns, "value", "low", "high", "n", "new_level"])
    for item in every:
        who, starts = item.contender, {item.known[step][0].place for step in item.steps}
        whose = [csv_text(text) for text in (who.task, who.pair, who.method)]
        for run, number in item.known:
            when = [plain(run.commit), run.date.isoformat()]
            numbers = [number.value, number.low, number.high, number.n]
            begins = int(run.place in starts)
            writer.writerow([*whose, item.temperature, item.gamma, *when, rate, *numbers, begins])
    return stream.getvalue()


REPORT = Trend()
