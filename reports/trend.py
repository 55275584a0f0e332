"""A rate over many runs, ordered by commit: first and last level, and where the level changed."""

# In short: A rate over many runs by commit, and where its level changed.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draftmark.analysis.change_points import FEWEST
from draftmark.analysis.gate.comparable import by_weight, run_differences, undeclared_differences
from draftmark.analysis.quantities import RATES
from draftmark.errors import UserError, unknown_name_error
from draftmark.reports._figures.trend import trend_png
from draftmark.reports._shared.content import csv_file, escape_markdown, markdown_table, number_text
from draftmark.reports._shared.series import DatedRun, Series, rated_runs, series_over
from draftmark.results import Number, Results
from draftmark.text import counted, printable_text

_CSV = (
    *("task", "pair", "method", "temperature", "gamma", "commit", "date", "quantity"),
    *("value", "low", "high", "n", "new_level"),
)


@dataclass(frozen=True)
class Trend:
    """The report on `runs`, by default on the run that it is called with."""

    runs: Sequence[tuple[Results, Path]] = ()
    rate: str = "acceptance_rate"
    least: float = 0.01  # the smallest step that counts
    dates: bool = False  # space runs by date, not evenly

    def __call__(self, results: Results, directory: Path) -> dict[str, str | bytes]:
        """Return trend.md and trend.csv, and trend.png if any run has numbers.

        Raises UserError for an unknown rate or a smallest step that is not above 0.
        """
        if self.rate not in RATES:
            raise unknown_name_error("rate", self.rate, RATES)
        if not self.least > 0:
            raise UserError(f"The smallest step must be above 0, such as 0.01; got {self.least:g}.")
        rated = rated_runs(self.runs or ((results, directory),), self.rate)
        runs, every = [item.run for item in rated], list(series_over(rated, self.least))
        files: dict[str, str | bytes] = {
            "trend.md": self._markdown(runs, every),
            "trend.csv": csv_file(_CSV, (row for item in every for row in self._csv_rows(item))),
        }
        if any(item.known for item in every):
            name = self.rate.replace("_", " ")
            files["trend.png"] = trend_png(every, runs, name, by_date=self.dates)
        return files

    def _markdown(self, runs: Sequence[DatedRun], every: Sequence[Series]) -> str:
        first, last = escape_markdown(runs[0].label), escape_markdown(runs[-1].label)
        parts = [
            f"# Trend of {self.rate.replace('_', ' ')}",
            f"{counted(len(runs), 'run')}, from {first} to {last}, ordered by commit. A step is a "
            f"lasting change of level by {self.least:g} or more.",
        ]
        if not any(item.known for item in every):
            return "\n\n".join([*parts, "No run has numbers: nothing to show."]) + "\n"
        parts += ["![The rate over runs](trend.png)", _levels(every)]
        parts += ["## Steps", self._steps(every)]
        if len(runs) < FEWEST:
            parts.append(f"Fewer than {FEWEST} runs: a step cannot be distinguished from noise.")
        if failed := list(_failed(every)):
            parts += ["## Failed", "\n".join(f"- {escape_markdown(line)}" for line in failed)]
        return "\n\n".join(parts) + "\n"

    def _steps(self, every: Sequence[Series]) -> str:
        changed: dict[tuple[int, int], str] = {}  # by the runs beside a step, which methods share
        body = []
        for item in every:
            for before, here, *levels in _steps_of(item):
                pair = before.given, here.given
                if pair not in changed:
                    changed[pair] = self._changed(*pair)
                body.append([escape_markdown(item.title), escape_markdown(here.label), *levels])
                body[-1].append(changed[pair])
        if not body:
            return "None found."
        header = ["", "first run of the new level", "before", "after", "other facts that changed"]
        return markdown_table(header, body, "llrrl")

    def _changed(self, before: int, here: int) -> str:
        """Return what differs between two of the runs, besides the commit, as Markdown."""
        older, newer = self.runs[before][0], self.runs[here][0]
        also = by_weight(undeclared_differences(run_differences(older, newer), ()))
        words = "; ".join(map(str, also[:3])) + ("; ..." if len(also) > 3 else "")
        return escape_markdown(words) or "the commit alone"

    def _csv_rows(self, item: Series) -> Iterator[list[Any]]:
        who, starts = item.contender, {item.known[step][0].place for step in item.steps}
        key = [who.task, who.pair, who.method, item.temperature, item.gamma]
        for run, number in item.known:
            when = [printable_text(run.commit), run.date.isoformat()]
            numbers = [number.value, number.low, number.high, number.n]
            yield [*key, *when, self.rate, *numbers, int(run.place in starts)]


def _levels(every: Sequence[Series]) -> str:
    body = []
    for item in every:
        if known := item.known:
            first, last = known[0][1], known[-1][1]
            numbers = [number_text(first), number_text(last), f"{last.value - first.value:+.3f}"]
            name = f"{escape_markdown(item.title)}, blocks of {item.gamma}"
            body.append([name, f"{len(known)}", *numbers, f"{len(item.steps)}"])
    return markdown_table(["", "runs", "first", "last", "change", "steps"], body)


def _steps_of(item: Series) -> Iterator[tuple[DatedRun, DatedRun, str, str]]:
    """Yield the runs before and after each step, and the levels there."""
    known = item.known
    edges = [0, *item.steps, len(known)]
    for before, here, after in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
        levels = _mean(known[before:here]), _mean(known[here:after])
        yield known[here - 1][0], known[here][0], *levels


def _mean(points: Sequence[tuple[DatedRun, Number]]) -> str:
    return f"{sum(number.value for _, number in points) / len(points):.3f}"


def _failed(every: Sequence[Series]) -> Iterator[str]:
    for item in every:
        if lost := [run.label for run, number in item.points if number is None]:
            number = counted(len(lost), "run")
            yield f"{item.title}: no number in {number}, the last of them {lost[-1]}"


REPORT = Trend()
