"""What a server counted of its drafts between two looks at its metrics.

vLLM's counters (`v1/spec_decode/metrics.py`): drafts, drafted tokens, accepted tokens, and accepted
tokens by position. They are the server's, of all its traffic: a measurement needs it for itself, so
the requests that the server finished meanwhile are counted beside those that were sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from draftmark.engines.measure.endpoint import Sample
from draftmark.errors import UserError

_DRAFTS = "vllm:spec_decode_num_drafts"
_DRAFTED = "vllm:spec_decode_num_draft_tokens"
_ACCEPTED = "vllm:spec_decode_num_accepted_tokens"
_BY_POSITION = "vllm:spec_decode_num_accepted_tokens_per_pos"
_FINISHED = "vllm:request_success"


@dataclass(frozen=True)
class Counted:
    """Differences of a server's counters; drafts is 0 where it does not speculate."""

    drafts: int
    drafted: int
    accepted: int
    by_position: tuple[int, ...]
    finished: int | None  # requests; None where the server does not tell

    @property
    def mean_acceptance_length(self) -> float:
        """Return 1 + accepted / drafts, as vLLM logs it."""
        return 1 + self.accepted / self.drafts

    @property
    def draft_acceptance_rate(self) -> float:
        """Return accepted / drafted, as vLLM logs it."""
        return self.accepted / self.drafted


def between(before: Sequence[Sample] | None, after: Sequence[Sample] | None) -> Counted | None:
    """Return what was counted between two looks; None if the server has no metrics.

    Raises UserError if a counter fell: the server was started anew meanwhile.
    """
    if before is None or after is None:
        return None
    has_finished = any(_is(sample, _FINISHED) for sample in after)
    return Counted(
        drafts=_rise(before, after, _DRAFTS),
        drafted=_rise(before, after, _DRAFTED),
        accepted=_rise(before, after, _ACCEPTED),
        by_position=tuple(
            _rise(before, after, _BY_POSITION, str(place)) for place in range(_depth(after))
        ),
        finished=_rise(before, after, _FINISHED) if has_finished else None,
    )


def _depth(samples: Sequence[Sample]) -> int:
    return len({s.labels.get("position") for s in samples if _is(s, _BY_POSITION)})


def _rise(
    before: Sequence[Sample], after: Sequence[Sample], name: str, position: str | None = None
) -> int:
    rise = _total(after, name, position) - _total(before, name, position)
    if rise < 0:
        raise UserError(f"The server's counter {name} fell: it was started anew; measure again.")
    return round(rise)


def _total(samples: Sequence[Sample], name: str, position: str | None) -> float:
    mine = (s for s in samples if _is(s, name))
    return sum(s.value for s in mine if position is None or s.labels.get("position") == position)


def _is(sample: Sample, name: str) -> bool:
    return sample.name in (name, f"{name}_total")  # clients of Prometheus add _total
