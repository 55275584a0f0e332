"""The lines that `draftmark measure-server` prints."""

from collections.abc import Iterator, Mapping, Sequence

from draftmark.engines.measure.endpoint import DraftCounts
from draftmark.engines.measure.endpoint_load import (
    Load,
    Measurement,
    count_length_mismatches,
    speedup,
)
from draftmark.results import Number
from draftmark.types import Arm

_NAMES: Mapping[Arm, str] = {"draft": "endpoint", "target": "endpoint without a draft"}


def measurement_lines(found: Mapping[Arm, Measurement], load: Load) -> Iterator[str]:
    """Yield the lines on one concurrency."""
    yield f"{load.concurrency} at a time, {load.blocks} blocks, temperature {load.temperature:g}"
    for arm, measured in found.items():
        numbers = measured.numbers()
        yield f"  {_NAMES[arm]}: {len(measured.replies)} requests"
        yield f"    first token   {_ms(numbers['first_token_s'])}"
        if "token_s" in numbers:
            yield f"    token         {_ms(numbers['token_s'])}"
        yield f"    tokens / s    {numbers['tokens_per_s'].value:.1f}"
        yield from (f"    {line}" for line in _count_lines(measured))
    if len(found) == 2:
        yield f"  {_speedup(found, load)}"


def _count_lines(measured: Measurement) -> Iterator[str]:
    counted = measured.counted
    if counted is None:
        yield "no /metrics: acceptance is not known"
    elif not counted.drafts:
        yield "no drafts were counted: this server does not speculate"
    else:
        yield from _rates(counted)
    others = counted.finished - len(measured.replies) if counted and counted.finished else 0
    if others:
        yield f"NOT ALONE: the server finished {others:+d} other requests; its counts include them"


def _rates(counted: DraftCounts) -> Iterator[str]:
    yield f"mean acceptance length  {counted.mean_acceptance_length:.3f} (1 + accepted / drafts)"
    yield f"draft acceptance rate   {counted.draft_acceptance_rate:.3f} (accepted / drafted)"
    marginal = ", ".join(f"{accepted / counted.drafts:.3f}" for accepted in counted.by_position)
    yield f"by position             {marginal} (accepted there / drafts)"


def _speedup(found: Mapping[Arm, Measurement], load: Load) -> str:
    mismatches = count_length_mismatches(found) if load.temperature == 0 else 0
    if mismatches:
        return (
            f"no speedup: {mismatches} prompts have replies of different lengths at temperature 0, "
            "so the two endpoints did different work"
        )
    number = speedup(found)
    shown = f"{number.value:.3f} [{number.low:.3f}, {number.high:.3f}] over {number.n} blocks"
    if _drafts(found["target"]):
        return f"{shown}: not the speedup of a draft, as the other endpoint drafts as well"
    return f"speedup {shown}"


def _drafts(measured: Measurement) -> bool:
    """True if the server is known to have drafted."""
    return bool(measured.counted and measured.counted.drafts)


def verdict_lines(runs: Sequence[tuple[Load, Mapping[Arm, Measurement]]]) -> Iterator[str]:
    """Yield the concurrencies at which the draft pays; nothing without a speedup."""
    speedups = {
        load.concurrency: speedup(found)
        for load, found in runs
        if len(found) == 2
        and not _drafts(found["target"])
        and not (load.temperature == 0 and count_length_mismatches(found))
    }
    if speedups:
        every = ", ".join(map(str, speedups))
        pays = ", ".join(str(n) for n, number in speedups.items() if (number.low or 0) > 1)
        loses = ", ".join(str(n) for n, number in speedups.items() if (number.high or 1) < 1)
        yield f"of {every} requests at a time, the draft certainly pays at: {pays or 'none'}"
        yield f"  it certainly slows the server at: {loses or 'none'}"


def _ms(number: Number) -> str:
    if number.low is None or number.high is None:
        return f"{number.value * 1e3:.1f} ms"
    return f"{number.value * 1e3:.1f} [{number.low * 1e3:.1f}, {number.high * 1e3:.1f}] ms"
