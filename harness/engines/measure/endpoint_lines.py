"""The printed lines of a measured endpoint: times, acceptance, and what they do not say."""

from collections.abc import Iterator, Mapping, Sequence

from draftmark.analysis.served_counts import served_counts, served_quantities
from draftmark.analysis.statistics import estimate_ratio
from draftmark.engines.measure.draft_counters import DraftCounts
from draftmark.engines.measure.endpoint_load import (
    Load,
    Measurement,
    count_length_mismatches,
    endpoint_speedup,
)
from draftmark.results import Number
from draftmark.types import Arm

_NAMES: Mapping[Arm, str] = {"draft": "endpoint", "target": "endpoint without a draft"}
_FLAG = "--per-request-spec-decode-metrics summary"
_SHOWN = {  # quantities of requests -> their lines
    "block_efficiency": "block efficiency       ",
    "acceptance_rate": "acceptance rate        ",
    "draft_acceptance_rate": "draft acceptance rate  ",
}


def measurement_lines(found: Mapping[Arm, Measurement], load: Load) -> Iterator[str]:
    """Yield the printed lines of one concurrency."""
    yield f"{load.concurrency} at a time, {load.blocks} blocks, temperature {load.temperature:g}"
    for arm, measured in found.items():
        numbers = measured.numbers()
        yield f"  {_NAMES[arm]}: {len(measured.replies)} requests"
        yield f"    first token   {_ms(numbers['first_token_s'])}"
        if "token_s" in numbers:
            yield f"    token         {_ms(numbers['token_s'])}"
        yield f"    tokens / s    {numbers['tokens_per_s'].value:.1f}"
        yield from (f"    {line}" for line in timing_faults(measured))
        yield from (f"    {line}" for line in _count_lines(measured, load))
    if len(found) == 2:
        yield f"  {_speedup(found, load)}"


def timing_faults(measured: Measurement) -> Iterator[str]:
    """Yield in which replies text and tokens did not arrive together."""
    replies, total = measured.replies, len(measured.replies)
    late = [tokens for reply in replies if (tokens := reply.first_tokens or 0) > 1]
    if late:
        yield (
            f"NOT THE FIRST TOKEN: in {len(late)} of {total} replies the first text came with "
            f"up to {max(late)} tokens, so its time is theirs"
        )
    silent = sum(not reply.pieces for reply in replies)
    if silent:
        yield f"NO TEXT in {silent} of {total} replies with tokens: their times are those of ends"
    whole = sum(reply.later_tokens is None for reply in replies)
    if whole:
        yield f"IN ONE PIECE: {whole} of {total} replies, which have no time for each token"


def _count_lines(measured: Measurement, load: Load) -> Iterator[str]:
    counted = measured.counted
    own = list(_own_counts(measured, load))
    yield from own or _other_counts(measured)
    others = counted.finished - len(measured.replies) if counted and counted.finished else 0
    if others:
        yield f"NOT ALONE: the server finished {others:+d} other requests; its counts include them"


def _own_counts(measured: Measurement, load: Load) -> Iterator[str]:
    """Yield the rates of counts that the server gave with each request."""
    counts = served_counts(measured.requests("draft", load.concurrency))
    if counts is None:
        return
    found = served_quantities(counts, load.temperature, counts.block)
    shown = {key.partition("[")[0]: item for key, item in found.items() if "position" not in key}
    for name, title in _SHOWN.items():
        if item := shown.get(name):
            number = estimate_ratio(*item.counts, item.definition, item.bounds)
            yield f"{title}{_interval(number)} (per request)"
    if not shown:
        yield "every request reports that nothing was drafted"
    if counts.reached_BG is not None and "drafts" in counts.columns and shown:
        drafts = counts.columns["drafts"].sum()
        by_position = ", ".join(f"{reached / drafts:.3f}" for reached in counts.reached_BG.sum(0))
        yield f"by position             {by_position} (accepted there / drafts)"


def _other_counts(measured: Measurement) -> Iterator[str]:
    """Yield the counts of the whole run, or why there are none."""
    counted = measured.counted
    if counted and counted.drafts:
        yield from _rates(counted)
        if measured.software == "vLLM":
            yield f"for intervals over prompts start vLLM with {_FLAG}"
    elif measured.gauges:
        for name, value in measured.gauges.items():
            yield f"{name} {value:g}: the server's own gauge of its last moments, no count"
    else:
        yield no_counts(measured)


def no_counts(measured: Measurement) -> str:
    """Return why a measurement has no counts of drafts."""
    if measured.counted and measured.software in ("", "vLLM"):
        return "no drafts were counted: this server does not speculate"
    names = {"SGLang": "spec_verify_ct in meta_info", "llama.cpp": "timings.draft_n"}
    if measured.software in names:
        return (
            f"{measured.software} reports no {names[measured.software]}: it drafted nothing, or an "
            "old version does not say; acceptance is not known"
        )
    return "no counts of drafts, in replies or at /metrics: acceptance is not known"


def _rates(counted: DraftCounts) -> Iterator[str]:
    yield f"mean acceptance length  {counted.mean_acceptance_length:.3f} (1 + accepted / drafts)"
    yield f"draft acceptance rate   {counted.draft_acceptance_rate:.3f} (accepted / drafted)"
    marginal = ", ".join(f"{accepted / counted.drafts:.3f}" for accepted in counted.by_position)
    yield f"by position             {marginal} (accepted there / drafts)"


def _interval(number: Number) -> str:
    if number.low is None or number.high is None:
        return f"{number.value:.3f}"
    return f"{number.value:.3f} [{number.low:.3f}, {number.high:.3f}]"


def _speedup(found: Mapping[Arm, Measurement], load: Load) -> str:
    mismatches = count_length_mismatches(found) if load.temperature == 0 else 0
    if mismatches:
        return (
            f"no speedup: {mismatches} prompts have replies of different lengths at temperature 0, "
            "so the two endpoints did different work"
        )
    number = endpoint_speedup(found)
    shown = f"{_interval(number)} over {number.n} blocks"
    if _drafts(found["target"]):
        return f"{shown}: not the speedup of a draft, because the other endpoint drafts too"
    return f"speedup {shown}"


def _drafts(measured: Measurement) -> bool:
    """True if the server is known to have drafted."""
    of_requests = any(item.counts and item.counts.drafted for item in measured.requests("draft", 1))
    return bool(measured.counted and measured.counted.drafts) or of_requests


def verdict_lines(runs: Sequence[tuple[Load, Mapping[Arm, Measurement]]]) -> Iterator[str]:
    """Yield lines with the concurrencies at which the draft pays; none without a speedup."""
    speedups = {
        load.concurrency: endpoint_speedup(found)
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
