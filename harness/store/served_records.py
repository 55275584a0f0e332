"""Records of a measured server: one row for each request, as the server answered it.

Rates are derived later (`analysis.served_counts`). A field that a server does not report is None,
never 0.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from draftmark.store.reading import Count, Seconds
from draftmark.store.records import read_rows_as, write_rows
from draftmark.types import Arm

REQUESTS = "requests.parquet"
MAX_BLOCK = 256  # tokens of a draft; servers draft 64 at most, and each position has numbers


@dataclass(frozen=True)
class RequestCounts:
    """A server's own counts of drafts for one request.

    `drafts`: target passes that verified a draft. `by_accepted[j]`: those that accepted exactly j
    drafted tokens. `block`: the most tokens that a draft of this request could have. Accepted
    tokens may include those of a last pass that lie beyond the end of the reply.
    """

    accepted: Count
    drafted: Count | None = None
    drafts: Count | None = None
    by_accepted: tuple[Count, ...] | None = None
    block: Count | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for counts that no server can have."""
        histogram = self.by_accepted
        longest = max(self.block or 0, len(histogram or ()) - 1)
        if longest > MAX_BLOCK:
            raise ValueError(f"drafts of up to {longest} tokens; {MAX_BLOCK} are the most")
        if self.drafted is not None and self.accepted > self.drafted:
            raise ValueError(f"{self.accepted} tokens accepted of {self.drafted} drafted")
        if histogram is not None:
            if self.drafts is not None and sum(histogram) != self.drafts:
                raise ValueError(
                    f"{sum(histogram)} drafts by accepted tokens, {self.drafts} in all"
                )
            total = sum(number * count for number, count in enumerate(histogram))
            if total != self.accepted:
                raise ValueError(f"{total} tokens by draft, {self.accepted} accepted in all")


@dataclass(frozen=True)
class ServedRequest:
    """One request of a measurement and its counts; `concurrency` names the load.

    `later_tokens`: tokens that arrived after the first text, None if unknown. A request that was
    not timed has no seconds.
    """

    arm: Arm
    concurrency: Count
    block: Count  # of prompts
    repeat: Count
    example_id: str
    num_tokens: Count
    later_tokens: Count | None
    first_token_s: Seconds | None
    total_s: Seconds | None
    finish_reason: str
    counts: RequestCounts | None


def write_requests(path: Path, requests: Sequence[ServedRequest]) -> None:
    """Write requests in their order; raises ValueError if there are none."""
    write_rows(path, [asdict(request) for request in requests])


def read_requests(path: Path) -> list[ServedRequest]:
    """Return requests in their order; raises UserError if the file is malformed."""
    found: list[Any] = read_rows_as(path, ServedRequest)
    return found
