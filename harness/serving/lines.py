"""What a measurement of an endpoint prints."""

from collections.abc import Iterator, Mapping

from harness.published import Number
from harness.serving.counters import Counted
from harness.serving.measuring import Load, Served, other_lengths, speedup
from harness.types import Arm

_WHO: Mapping[Arm, str] = {"draft": "endpoint", "target": "the one without a draft"}


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
    return (
        f"speedup {number.value:.3f} [{number.low:.3f}, {number.high:.3f}] over {number.n} blocks"
    )


def _ms(number: Number) -> str:
    if number.low is None or number.high is None:
        return f"{number.value * 1e3:.1f} ms"
    return f"{number.value * 1e3:.1f} [{number.low * 1e3:.1f}, {number.high * 1e3:.1f}] ms"
