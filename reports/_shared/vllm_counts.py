"""A cell's counts as vLLM counts them: drafts, drafted and accepted tokens, all and by position.

They are expected counts from acceptance tables under vLLM's convention (`speculation.blocks.VLLM`),
or a server's own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from draftmark.analysis.cell_counts import drafts_of
from draftmark.analysis.served_counts import served_counts
from draftmark.analysis.stored_counts import stored_requests, stored_tables
from draftmark.reports._shared.rows import gamma_of, temperatures_of, way_in_words
from draftmark.results import Result, Results
from draftmark.speculation.blocks import VLLM, block_counts

DEFINITION = (
    "Acceptance length = 1 + accepted / drafts, pooled over the prompts; at position i: drafts "
    "whose tokens up to i were all accepted / drafts. Counted as vLLM counts: prefill emits the "
    "first token, a draft has all of its tokens drafted whatever the length limit, and a pass "
    "without a draft is no draft."
)
EXPECTED = (
    "Expected counts, given the target's own texts, from acceptance by token; tokens accepted "
    "beyond the end of a text, which vLLM counts too, are not among them."
)
COUNTED = "The server's own counts, tokens accepted beyond the end of a reply included."


@dataclass(frozen=True)
class VllmCounts:
    """Pooled counts of a cell at a temperature; `how` is the way of drafting, if there are two."""

    temperature: float
    how: str
    drafts: float
    drafted: float
    accepted: float
    reached: tuple[float, ...]  # by position

    @property
    def acceptance_length(self) -> float:
        """1 + accepted / drafts."""
        return 1 + self.accepted / self.drafts


def cell_counts(result: Result, results: Results, directory: Path) -> Iterator[VllmCounts]:
    """Yield the counts of a cell at each temperature, for each way of drafting that drafted."""
    found = _served if stored_requests(result, directory) else _scored
    yield from (counts for counts in found(result, results, directory) if counts.drafts)


def _served(result: Result, results: Results, directory: Path) -> Iterator[VllmCounts]:
    counts = served_counts(stored_requests(result, directory))
    if counts and counts.reached_BG is not None and {"drafts", "drafted"} <= counts.columns.keys():
        sums = {name: float(values_B.sum()) for name, values_B in counts.columns.items()}
        reached = tuple(counts.reached_BG.sum(0).tolist())
        drafts, drafted, accepted = (sums[name] for name in ("drafts", "drafted", "accepted"))
        at = temperatures_of(results)[0]
        yield VllmCounts(at, "", drafts, drafted, accepted, reached)


def _scored(result: Result, results: Results, directory: Path) -> Iterator[VllmCounts]:
    for temperature in temperatures_of(results):
        ways = drafts_of(stored_tables(result, directory, temperature))
        for draft, tables in ways.items():
            counts = block_counts(tables, gamma_of(results), VLLM)
            yield VllmCounts(
                temperature,
                way_in_words(draft, ways),
                drafts=float(counts.drafts_B.sum()),
                drafted=float(counts.drafted_B.sum()),
                accepted=float(counts.accepted_B.sum()),
                reached=tuple(counts.reached_BG.sum(0).tolist()),
            )


def definition(results: Results) -> str:
    """Return how acceptance is counted, in words."""
    return f"{DEFINITION} {EXPECTED if results.server is None else COUNTED}"
