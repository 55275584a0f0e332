"""Shows the progress of a run: bars on a terminal, plain lines elsewhere.

Several steps may be open at once.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as RichBars
from rich.table import Column
from rich.text import Text

from draftmark.text import (
    cut_middle,
    format_bytes,
    format_span,
    printable_paragraphs,
    printable_text,
)

PLAIN_INTERVAL_S = 15.0
PLAIN_INTERVAL_OF_BYTES_S = 10.0
ESTIMATES_S = 60.0  # how long an estimate of the time left counts


class Step(Protocol):
    """Work whose units are counted towards a total."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Count `amount` more units as done; show `note` beside the count."""


@dataclass(frozen=True)
class NamedStep:
    """A view of a step that passes on named notes and never advances the count."""

    step: Step
    name: str

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Show `note` after the name; `amount` is ignored."""
        self.step.advance(0, f"{self.name}: {note}" if note else "")


class _Console(Console):
    """A console that falls silent when its reader has gone; rich would end the program."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class Progress:
    """The progress output of a run; `quiet` prints nothing, for tests and scripts."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self.console = console or _Console(stderr=True, highlight=False, force_jupyter=False)
        self.quiet = quiet
        self._bars: RichBars | None = None  # of the open steps, on a terminal
        self._stages: tuple[Step, int] | None = None  # the stages of a run, and how many there are
        self._stages_done = 0
        self._said: set[str] = set()  # the lines of `say_once`

    def say(self, line: str) -> None:
        """Print one line."""
        if not self.quiet:
            shown = printable_paragraphs(line, len(line))
            self.console.print(shown, markup=False, emoji=False, soft_wrap=True)

    def say_once(self, line: str) -> None:
        """Print one line, unless it was printed before."""
        if line not in self._said:
            self._said.add(line)
            self.say(line)

    @contextmanager
    def stages(self, total: int) -> Iterator[None]:
        """Count stages that are done while the block runs; on a terminal in a bar."""
        with ExitStack() as stack:
            step = silent_step()
            if self.console.is_terminal and not self.quiet:
                step = stack.enter_context(self._bar("all stages", total, in_bytes=False))
            self._stages, self._stages_done = (step, total), 0
            yield
        self._stages = None

    def stage_done(self, line: str) -> None:
        """Print the line of a stage that is done, after its number of all stages."""
        if self._stages is None:
            self.say(line)
            return
        step, total = self._stages
        self._stages_done += 1
        step.advance()
        numbered = f"[{self._stages_done}/{total}] {line}"
        width = self.console.width if self.console.is_terminal else len(numbered)
        self.say(cut_middle(numbered, width))

    @contextmanager
    def step(self, label: str, total: int) -> Iterator[Step]:
        """Show a step of `total` units while the block runs."""
        with self._step(label, total, in_bytes=False) as step:
            yield step

    @contextmanager
    def download(self, label: str, size: int) -> Iterator[Step]:
        """Show a download of `size` bytes, its speed and the time left while the block runs."""
        with self._step(label, size, in_bytes=True) as step:
            yield step

    @contextmanager
    def _step(self, label: str, total: int, *, in_bytes: bool) -> Iterator[Step]:
        if self.quiet:
            yield _Silent()
        elif self.console.is_terminal:
            with self._bar(label, total, in_bytes) as bar:
                yield bar
        else:
            yield _Lines(self, label, total, in_bytes)

    @contextmanager
    def _bar(self, label: str, total: int, in_bytes: bool) -> Iterator[Step]:
        """Show a bar below those of the other open steps; the last one ends the live display."""
        if self._bars is None:
            self._bars = RichBars(
                *_columns(self.console.width), console=self.console, transient=True
            )
            self._bars.start()
        bars, bar = self._bars, _Bar(self._bars, label, total, in_bytes)
        try:
            yield bar
        finally:
            if len(bars.tasks) > 1:
                bar.remove()
            else:
                bars.stop()
                self._bars = None


def _columns(width: int) -> Iterator[ProgressColumn]:
    """Yield the columns of a bar: one line on a console of this width, numbers in full."""
    yield TextColumn("  {task.description}", markup=False, table_column=_cut_at(2 * width // 5))
    yield BarColumn(bar_width=width // 8)
    yield _Count(table_column=Column(no_wrap=True))
    yield _TimeLeftColumn(table_column=Column(no_wrap=True))
    yield TextColumn("{task.fields[note]}", markup=False, table_column=_cut_at(width // 4))


class _TimeLeft:
    """The time left of a step, as a range of its latest estimates.

    An estimate that falls as time passes agrees with those before it; one that does not fall widens
    the range.
    """

    def __init__(self) -> None:
        self._ends: deque[tuple[float, float]] = deque()  # (time, estimated end)

    def describe(self, now: float, left: float) -> str:
        """Return "7 min left" or "7 to 12 min left" after an estimate of the time left."""
        self._ends.append((now, now + left))
        while self._ends[0][0] < now - ESTIMATES_S:
            self._ends.popleft()
        ends = [end for _, end in self._ends]
        return f"{format_span(max(0.0, min(ends) - now), max(ends) - now)} left"


class _TimeLeftColumn(ProgressColumn):
    """The time left of each step."""

    max_refresh = 1.0  # seconds

    def __init__(self, table_column: Column) -> None:
        super().__init__(table_column)
        self._steps: dict[int, _TimeLeft] = {}

    def render(self, task: Task) -> Text:
        """Return the column's text of one step, empty before its speed is known."""
        left = None if task.finished else task.time_remaining
        if left is None:
            return Text("")
        return Text(self._steps.setdefault(task.id, _TimeLeft()).describe(task.get_time(), left))


class _Count(ProgressColumn):
    """The units of a step that are done, of how many; of a download also the speed."""

    def render(self, task: Task) -> Text:
        """Return the column's text of one step."""
        if not task.fields["in_bytes"]:
            return Text(f"{task.completed:.0f}/{task.total:.0f}")
        speed = f" {format_bytes(task.speed)}/s" if task.speed else ""
        return Text(_describe_download(task.completed, task.total or 0) + speed)


def _describe_download(done: float, size: float) -> str:
    return f"{format_bytes(done)}/{format_bytes(size)}"


def _cut_at(width: int) -> Column:
    return Column(no_wrap=True, overflow="ellipsis", max_width=width)


def silent_step() -> Step:
    """Return a step that shows nothing."""
    return _Silent()


class _Silent:
    def advance(self, amount: int = 1, note: str = "") -> None:
        pass


class _Bar:
    def __init__(self, bars: RichBars, label: str, total: int, in_bytes: bool) -> None:
        self._bars = bars
        shown = printable_text(label)
        self._task = bars.add_task(shown, total=total, note="", in_bytes=in_bytes)

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._bars.update(self._task, advance=amount, note=printable_text(note))

    def remove(self) -> None:
        """Hide the bar."""
        self._bars.remove_task(self._task)


class _Lines:
    """Prints a line now and then, so that a log shows that the run is alive."""

    def __init__(self, progress: Progress, label: str, total: int, in_bytes: bool) -> None:
        self._progress, self._label, self._total = progress, label, total
        self._in_bytes = in_bytes
        self._done = self._printed = 0  # units done, now and when the last line was printed
        self._last = time.monotonic()
        self._left = _TimeLeft()

    def advance(self, amount: int = 1, note: str = "") -> None:
        if not self._done and not self._in_bytes:
            self._printed = amount  # an earlier run may have done these units
        self._done += amount
        now = time.monotonic()
        if now - self._last >= (PLAIN_INTERVAL_OF_BYTES_S if self._in_bytes else PLAIN_INTERVAL_S):
            notes = ", ".join(filter(None, (note, *self._speed_and_time_left(now))))
            self._progress.say(f"  {self._label}: {self._count()} {notes}".rstrip())
            self._last, self._printed = now, self._done

    def _count(self) -> str:
        if self._in_bytes:
            return _describe_download(self._done, self._total)
        return f"{self._done}/{self._total}"

    def _speed_and_time_left(self, now: float) -> Iterator[str]:
        """Yield the speed of a download, and the remaining time, since the last line."""
        done, seconds = self._done - self._printed, now - self._last
        if done > 0 and self._in_bytes:
            yield f"{format_bytes(done / seconds)}/s"
        if done > 0 and self._done < self._total:
            yield self._left.describe(now, (self._total - self._done) * seconds / done)
