"""The cost model with its terms measured: parts of a block -> cost ratio, predicted speedup.

Of the parts that were timed by themselves, a draft's step is c plain passes of the target (the cost
ratio), and a pass over 1 + gamma tokens adds w of a plain pass for each (the verification cost). On
what the engine counted, prefill included, they promise

    (N prefill + tokens t) / (N (prefill + draft's prefill) + passes t + drafted (c + w) t)

for N prompts and a plain pass of t seconds. The promise over what was measured is the engine's
overhead: what it takes with a draft that is in none of the parts.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from draftmark.analysis import statistics
from draftmark.config.sections import SpeedCondition
from draftmark.results import Number
from draftmark.store.speed_records import TimedPass
from draftmark.types import Arm

DEFINITIONS = {
    "cost_ratio": "c: time of drafting a token / a plain pass of the target, each timed by itself; "
    "geometric mean over repeats",
    "verification_cost": "w: what a drafted token adds to the target's pass, in plain passes; of "
    "the geometric mean over repeats of both passes' ratio",
    "predicted_speedup": "of the tokens, passes and drafted tokens that the engine counted, at the "
    "times of the parts, prefill included; geometric mean over repeats",
    "overhead": "predicted / measured speedup, with the spread of both: what the engine takes with "
    "a draft beyond the parts",
}


@dataclass(frozen=True)
class PassTimes:
    """Seconds of the parts of a block at a batch size, in one repeat."""

    plain: float  # a pass of the target over one token of each text
    verify: float  # ... over 1 + gamma tokens
    draft: float  # drafting a token
    prefills: tuple[float, float]  # of the target, of the draft

    def cost_ratio(self) -> float:
        """Return c."""
        return self.draft / self.plain

    def verification_cost(self, gamma: int) -> float:
        """Return w; noise can make it negative."""
        return (self.verify - self.plain) / (gamma * self.plain)


def predictions(
    under: SpeedCondition,
    parts: Sequence[TimedPass],
    counts: Mapping[str, Sequence[float]],
    speedup: Number | None,
) -> Iterator[tuple[str, Number]]:
    """Yield the terms of the cost model, what they predict, and the overhead of the engine.

    Nothing where parts were not timed at this batch size.
    """
    gamma = under.num_speculative_tokens
    times = list(times_of(parts, under.batch_size, gamma))
    if len(times) < 2:
        return
    yield from costs_of(times, gamma).items()
    predicted = _geometric([_predicted(each, gamma, counts) for each in times], "predicted_speedup")
    yield "predicted_speedup", predicted
    if speedup and speedup.low and speedup.high:
        yield "overhead", _overhead(predicted, speedup)


def _overhead(predicted: Number, speedup: Number) -> Number:
    """Return what is predicted / what was measured; the spread of both, on logs, is in it."""
    value = predicted.value / speedup.value
    half = math.hypot(*(math.log((n.high or n.value) / n.value) for n in (predicted, speedup)))
    ends = value * math.exp(-half), value * math.exp(half)
    return Number(value, *ends, speedup.n, DEFINITIONS["overhead"])


def costs_of(times: Sequence[PassTimes], gamma: int) -> dict[str, Number]:
    """Return c and w, by their names; raises ValueError on fewer than two repeats."""
    return {
        "cost_ratio": _geometric([each.cost_ratio() for each in times], "cost_ratio"),
        "verification_cost": _verification(times, gamma),
    }


def _verification(times: Sequence[PassTimes], gamma: int) -> Number:
    """Return w, of the mean ratio of both passes: noise can make it negative."""
    ratios = statistics.log_ratio_interval([each.verify / each.plain for each in times])
    value, low, high = ((ratio - 1) / gamma for ratio in ratios)
    return Number(value, low, high, len(times), DEFINITIONS["verification_cost"])


def _predicted(times: PassTimes, gamma: int, counts: Mapping[str, Sequence[float]]) -> float:
    names = ("runs", "tokens", "passes", "drafted")
    prompts, tokens, passes, drafted = (math.fsum(counts[name]) for name in names)
    target, draft = times.prefills
    per_drafted = times.draft + times.verification_cost(gamma) * times.plain
    alone = prompts * target + tokens * times.plain
    return alone / (prompts * (target + draft) + passes * times.plain + drafted * per_drafted)


def times_of(parts: Sequence[TimedPass], batch_size: int, gamma: int) -> Iterator[PassTimes]:
    """Yield the times of each repeat, means over the contexts that were timed."""
    mine = [part for part in parts if part.batch_size == batch_size]
    for repeat in sorted({part.repeat for part in mine}):
        here = [part for part in mine if part.repeat == repeat]
        passes = {
            width: _mean([p.seconds for p in _of(here, "target") if p.context and p.width == width])
            for width in (1, gamma + 1)
        }
        drafts = [part.seconds / part.width for part in _of(here, "draft") if part.context]
        if not drafts or None in passes.values():
            return
        prefill = [_mean([p.seconds for p in _of(here, who) if not p.context]) for who in _WHO]
        yield PassTimes(
            plain=passes[1] or 0.0,
            verify=passes[gamma + 1] or 0.0,
            draft=_mean(drafts) or 0.0,
            prefills=(prefill[0] or 0.0, prefill[1] or 0.0),  # a lookup has none
        )


_WHO: tuple[Arm, ...] = ("target", "draft")


def _of(parts: Sequence[TimedPass], who: Arm) -> Iterator[TimedPass]:
    return (part for part in parts if part.who == who)


def _mean(seconds: Sequence[float]) -> float | None:
    return math.fsum(seconds) / len(seconds) if seconds else None


def _geometric(values: Sequence[float], name: str) -> Number:
    value, low, high = statistics.log_ratio_interval(values)
    return Number(value, low, high, len(values), DEFINITIONS[name])
