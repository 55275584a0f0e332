"""What a measurement of an endpoint prints."""

from collections.abc import Iterator, Mapping, Sequence

from draftmark.engines.measure.endpoint_counters import Counted
from draftmark.engines.measure.endpoint_load import Load, Served, other_lengths, speedup
from draftmark.results import Number
from draftmark.types import Arm

_WHO: Mapping[Arm, str] = {"draft": "endpoint", "target": "the one it is held against"}


def lines(found: Mapping[Arm, Served], load: Load) -> Iterator[str]:
    """Yield the lines on one concurrency."""
    yield f"{load.concurrency} at a time, {load.blocks} blocks, temperature {load.temperature:g}"
    for arm, served in found.items():
        numbers = served.numbers()
        yield f"  {_WHO[arm]}: {len(served.replies)} requests"
        yield f"    first token   {_ms(numbers['first_token_s'])}"
        if "token_s" in numbers:
            yield f"    token         {_ms(numbers['token_s'])}"
        yield f"    tokens / s    {numbers['tokens_per_s'].value:.1f}"
        yield from (f"    {line}" for line in _counted(served))
    if len(found) == 2:
        yield f"  {_speedup(found, load)}"


def _counted(served: Served) -> Iterator[str]:
    counted = served.counted
    if counted is None:
        yield "no /metrics: acceptance is not known"
    elif not counted.drafts:
        yield "no drafts were counted: this server does not speculate"
    else:
        yield from _rates(counted)
    others = counted.finished - len(served.replies) if counted and counted.finished else 0
    if others:
        yield f"NOT ALONE: the server finished {others:+d} requests beside these; counts are of all"


def _rates(counted: Counted) -> Iterator[str]:
    yield f"mean acceptance length  {counted.mean_acceptance_length:.3f} (1 + accepted / drafts)"
    yield f"draft acceptance rate   {counted.draft_acceptance_rate:.3f} (accepted / drafted)"
    marginal = ", ".join(f"{accepted / counted.drafts:.3f}" for accepted in counted.by_position)
    yield f"by position             {marginal} (accepted there / drafts)"


def _speedup(found: Mapping[Arm, Served], load: Load) -> str:
    other = other_lengths(found) if load.temperature == 0 else 0
    if other:
        return (
            f"no speedup: {other} prompts have replies of different lengths at temperature 0, so "
            "the arms did other work"
        )
    number = speedup(found)
    shown = f"{number.value:.3f} [{number.low:.3f}, {number.high:.3f}] over {number.n} blocks"
    if drafts(found["target"]):
        return f"{shown}: not of a draft, for the other one drafts as well"
    return f"speedup {shown}"


def drafts(served: Served) -> bool:
    """Return whether a server is known to have drafted for what was sent."""
    return bool(served.counted and served.counted.drafts)


def verdict(measured: Sequence[tuple[Load, Mapping[Arm, Served]]]) -> Iterator[str]:
    """Yield at how many requests at a time the draft pays: nothing where no speedup is given."""
    told = {
        load.concurrency: speedup(found)
        for load, found in measured
        if len(found) == 2
        and not drafts(found["target"])
        and not (load.temperature == 0 and other_lengths(found))
    }
    if told:
        every = ", ".join(map(str, told))
        pays = ", ".join(str(n) for n, number in told.items() if (number.low or 0) > 1)
        loses = ", ".join(str(n) for n, number in told.items() if (number.high or 1) < 1)
        yield f"of {every} requests at a time the draft pays for certain at: {pays or 'none'}"
        yield f"  it makes things slower for certain at: {loses or 'none'}"


def _ms(number: Number) -> str:
    if number.low is None or number.high is None:
        return f"{number.value * 1e3:.1f} ms"
    return f"{number.value * 1e3:.1f} [{number.low * 1e3:.1f}, {number.high * 1e3:.1f}] ms"
