"""A server's own counters of drafts, read from its page of metrics.

vLLM's counters (`v1/spec_decode/metrics.py`) count drafts, drafted tokens, accepted tokens, and
accepted tokens by position. They cover all traffic of the server, so a measurement needs an
otherwise idle server: the requests that the server finished are compared with those that were sent.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from draftmark.errors import UserError

# A line of a page in Prometheus' text format: name, labels, value, time.
_SAMPLE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\d+)?")
# A name begins where no name precedes it, so that a page of letters takes linear time.
_LABEL = re.compile(r'(?<!\w)(\w++)="((?:[^"\\]|\\.)*+)"')
_MAX_LINE = 2**14  # characters; no counter has a longer line
_MAX_COUNT = 2**53  # the page has float64 values
_DRAFTS = "vllm:spec_decode_num_drafts"
_DRAFTED = "vllm:spec_decode_num_draft_tokens"
_ACCEPTED = "vllm:spec_decode_num_accepted_tokens"
_BY_POSITION = "vllm:spec_decode_num_accepted_tokens_per_pos"
_FINISHED = "vllm:request_success"
_NAMES = (_DRAFTS, _DRAFTED, _ACCEPTED, _BY_POSITION, _FINISHED)

Counters = Mapping[tuple[str, str], float]  # by name and position ("" without a position)


@dataclass(frozen=True)
class Sample:
    """One value of a server's metrics."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class DraftCounts:
    """Increases of a server's counters; `drafts` is 0 if the server does not speculate."""

    drafts: int
    drafted: int
    accepted: int
    by_position: tuple[int, ...]
    finished: int | None  # requests; None if the server does not count them

    @property
    def mean_acceptance_length(self) -> float:
        """1 + accepted / drafts, as vLLM logs it."""
        return 1 + self.accepted / self.drafts

    @property
    def draft_acceptance_rate(self) -> float:
        """Accepted / drafted, as vLLM logs it."""
        return self.accepted / self.drafted


def parse_metrics(text: str) -> Iterator[Sample]:
    """Yield the finite samples of a page in Prometheus' text format, in linear time."""
    for line in text.splitlines():
        match = _SAMPLE.fullmatch(line.strip()) if len(line) <= _MAX_LINE else None
        if not match:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if math.isfinite(value):
            yield Sample(match[1], dict(_LABEL.findall(match[2] or "")), value)


def read_counters(text: str, names: Sequence[str]) -> Counters:
    """Return the counters of a model with these names on a page, summed over engines.

    Raises ValueError if the value of one cannot be a count.
    """
    totals: dict[tuple[str, str], float] = defaultdict(float)
    for sample in parse_metrics(text):
        name = sample.name.removesuffix("_total")  # Prometheus clients add it
        if name not in _NAMES or sample.labels.get("model_name", names[0]) not in names:
            continue
        if not 0 <= sample.value <= _MAX_COUNT:
            raise ValueError(f"the counter {sample.name} is {sample.value:g}, which is not a count")
        position = sample.labels.get("position", "") if name == _BY_POSITION else ""
        totals[name, position] += sample.value
    return dict(totals)


def count_drafts(before: Counters | None, after: Counters | None) -> DraftCounts | None:
    """Return the counters' increases, None without metrics.

    Raises UserError if a counter fell, or if no server that drafts can have these increases.
    """
    if before is None or after is None:
        return None
    rises = {key: _rise(key, before, after) for key in {**before, **after}}
    at = {position: rise for (name, position), rise in rises.items() if name == _BY_POSITION}
    counted = DraftCounts(
        drafts=rises.get((_DRAFTS, ""), 0),
        drafted=rises.get((_DRAFTED, ""), 0),
        accepted=rises.get((_ACCEPTED, ""), 0),
        by_position=tuple(at.get(str(index), 0) for index in range(len(at))),
        finished=rises.get((_FINISHED, "")),
    )
    for fault in _faults(counted, at):
        raise UserError(
            f"The server's counters are impossible: {fault}; check that no proxy mixes the pages "
            "of several servers, then measure again."
        )
    return counted


def _rise(key: tuple[str, str], before: Counters, after: Counters) -> int:
    rise = after.get(key, 0) - before.get(key, 0)
    if rise < 0:
        raise UserError(f"The counter {key[0]} fell: the server was restarted; measure again.")
    if rise != round(rise):
        raise UserError(f"The counter {key[0]} rose by {rise:g}, which is not a count.")
    return round(rise)


def _faults(counted: DraftCounts, at: Mapping[str, int]) -> Iterator[str]:
    """Yield what contradicts in the counts; `at` has the accepted tokens of each position."""
    if counted.accepted > counted.drafted:
        yield f"{counted.accepted} tokens accepted of {counted.drafted} drafted"
    if counted.drafted < counted.drafts or counted.drafted > 0 == counted.drafts:
        yield f"{counted.drafted} tokens in {counted.drafts} drafts"
    if at.keys() != {str(index) for index in range(len(at))}:
        yield f"positions {', '.join(sorted(at)[:5])}, which do not count from 0"
    if at and sum(at.values()) != counted.accepted:
        yield f"{sum(at.values())} tokens accepted at all positions, {counted.accepted} in all"
    if max(counted.by_position, default=0) > counted.drafts:
        yield f"{max(counted.by_position)} tokens accepted at a position of {counted.drafts} drafts"
