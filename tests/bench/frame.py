"""Comparisons: draftmark beside other ways to do the same work, in turns, until a time is used.

A comparison has arms, of which the first is draftmark's. One repeat runs every arm once, and the
next repeat runs them in the opposite order (A B, B A, A B), so that a machine that slows down
slows all arms alike. A ratio is draftmark's speed, or peak memory, over that of another arm in the
same repeat. Reported is its geometric mean over repeats, with a 95 % t interval on logarithms.
"""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter
from typing import Any

from draftmark.analysis.intervals import log_ratio_interval

SPEED, MEMORY = "speed", "memory"
SILENCE_S = 10.0


@dataclass(frozen=True)
class Spent:
    """What an arm took in one repeat.

    `amount` is the work done, such as tokens, where arms need not do equally much: speed is amount
    by seconds. `peak_bytes` is the most memory that the arm's own process held, if it had one.
    """

    seconds: float
    amount: float = 1.0
    peak_bytes: int | None = None


Arm = Callable[[int], Spent]  # of the number of the repeat, from 0


@dataclass(frozen=True)
class Comparison:
    """draftmark beside other ways to do the same work.

    `prepare` loads what the arms share and returns them by name, draftmark's first. `facts` are the
    settings that a reader must know, such as model, dtype and threads. `speed_goals` and
    `memory_goals` are, by the other arm, the least ratio of speed and the largest of memory.
    """

    name: str
    prepare: Callable[[], Mapping[str, Arm]]
    facts: Mapping[str, Any]
    unit: str = ""  # what amounts count, such as "tokens"; empty: seconds are shown
    speed_goals: Mapping[str, float] = field(default_factory=dict)
    memory_goals: Mapping[str, float] = field(default_factory=dict)
    most_repeats: int = 12


@dataclass(frozen=True)
class Ratio:
    """draftmark's speed or peak memory over that of another arm; no interval from one repeat."""

    other: str
    quantity: str
    ratio: float
    low: float | None
    high: float | None
    repeats: int
    goal: float | None

    def __str__(self) -> str:
        if self.low is None:
            return f"{self.ratio:.3g}, one repeat"
        if self.high == math.inf:  # so few equal repeats bound nothing
            return f"{self.ratio:.3g}, {self.repeats} equal repeats"
        return f"{self.ratio:.3g} [{self.low:.3g}, {self.high:.3g}] n={self.repeats}"


@dataclass(frozen=True)
class Measured:
    """What every arm of a comparison took, repeat by repeat."""

    comparison: Comparison
    spent: Mapping[str, Sequence[Spent]]

    @property
    def ratios(self) -> list[Ratio]:
        """Speed beside every other arm, then peak memory beside those that report memory."""
        mine, *others = self.spent
        speeds = [self._ratio(SPEED, mine, other, self.comparison.speed_goals) for other in others]
        with_memory = [other for other in others if self.spent[other][0].peak_bytes]
        goals = self.comparison.memory_goals
        return speeds + [self._ratio(MEMORY, mine, other, goals) for other in with_memory]

    def _ratio(self, quantity: str, mine: str, other: str, goals: Mapping[str, float]) -> Ratio:
        pairs = zip(self.spent[mine], self.spent[other], strict=True)
        ratios = [_quantity(quantity, a) / _quantity(quantity, b) for a, b in pairs]
        found: tuple[float, float | None, float | None] = ratios[0], None, None
        if len(ratios) > 1:
            found = log_ratio_interval(ratios)
        return Ratio(other, quantity, *found, len(ratios), goals.get(other))


def _quantity(quantity: str, spent: Spent) -> float:
    return spent.amount / spent.seconds if quantity == SPEED else float(spent.peak_bytes or 0)


def measure(
    comparison: Comparison,
    seconds: float,
    clock: Callable[[], float] = perf_counter,
    say: Callable[[str], object] = lambda _: None,
) -> Measured:
    """Repeat a comparison until no further repeat fits into `seconds`; one repeat runs always.

    Preparing the arms counts as well. A repeat is expected to take as long as the longest so far.
    """
    begun = clock()
    arms = comparison.prepare()
    spent: dict[str, list[Spent]] = {name: [] for name in arms}
    order, longest, said = list(arms), 0.0, begun
    for repeat in count():
        started = clock()
        for name in order:
            spent[name].append(arms[name](repeat))
        order.reverse()
        now = clock()
        longest = max(longest, now - started)
        is_last = repeat + 1 == comparison.most_repeats or now + longest > begun + seconds
        if is_last or now > said + SILENCE_S:
            say(f"{comparison.name}: repeat {repeat + 1}, {now - begun:.0f} of {seconds:.0f} s")
            said = now
        if is_last:
            break
    return Measured(comparison, spent)


def timed(work: Callable[[], object], clock: Callable[[], float] = perf_counter) -> Arm:
    """Return an arm that runs a work in this process; a number that the work returns is amount."""

    def arm(_: int) -> Spent:
        started = clock()
        done = work()
        seconds = clock() - started
        return Spent(seconds, float(done)) if isinstance(done, int | float) else Spent(seconds)

    return arm


def in_own_process(module: str, *words: str) -> Arm:
    """Return an arm that runs a module in a process of its own, so that peak memory is its own.

    The last line that the module prints is a JSON object with the fields of `Spent`. Raises
    RuntimeError with the end of its messages if the process fails.
    """

    def arm(_: int) -> Spent:
        command = [sys.executable, "-m", module, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
        return Spent(**json.loads(done.stdout.splitlines()[-1]))

    return arm
