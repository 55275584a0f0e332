"""A server's counters: what is read, what is refused, and in which time."""

from collections.abc import Mapping
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.engines.measure.draft_counters import (
    DraftCounts,
    Sample,
    count_drafts,
    parse_metrics,
    read_counters,
)
from draftmark.errors import UserError

NAMES = {
    "drafts": "spec_decode_num_drafts",
    "drafted": "spec_decode_num_draft_tokens",
    "accepted": "spec_decode_num_accepted_tokens",
}
POSITION = "spec_decode_num_accepted_tokens_per_pos"


def page(counts: Mapping[str, object], by_position: Mapping[object, object] | None = None) -> str:
    """Return a page as vLLM writes it."""
    lines = [
        f'vllm:{NAMES[name]}_total{{model_name="m"}} {value}' for name, value in counts.items()
    ]
    for position, value in (by_position or {}).items():
        labels = f'model_name="m",position="{position}"'
        lines.append(f"vllm:{POSITION}_total{{{labels}}} {value}")
    return "\n".join(lines)


def counted(*pages: str) -> DraftCounts | None:
    """Return the increases from a page to the next, or from nothing to a page."""
    before, after = ("", *pages)[-2:]
    return count_drafts(read_counters(before, ["m"]), read_counters(after, ["m"]))


def test_prometheus_text_is_read() -> None:
    text = '# TYPE a counter\na{x="1",y="q\\"z"} 3.5 1700000000\nb 2\nc NaN\nbroken{\n'
    found = list(parse_metrics(text))
    assert found == [Sample("a", {"x": "1", "y": 'q\\"z'}, 3.5), Sample("b", {}, 2.0)]


def test_the_counters_of_all_engines_of_the_model_are_summed() -> None:
    engines = "\n".join(
        f'vllm:spec_decode_num_drafts_total{{engine="{engine}",model_name="{model}"}} {value}'
        for engine, model, value in ((0, "m", 3), (1, "m", 4), (0, "other", 100))
    )
    assert read_counters(engines, ["m"]) == {("vllm:spec_decode_num_drafts", ""): 7.0}


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=8), st.integers(0, 10**9))
def test_counts_that_drafts_can_have_are_the_rises(rejected: list[int], before: int) -> None:
    """Drafts that end at each position: each passes the positions before."""
    drafts = sum(rejected) + 1
    by_position = [drafts - sum(rejected[: index + 1]) for index in range(len(rejected))]
    counts = {"drafts": drafts, "drafted": drafts * len(rejected), "accepted": sum(by_position)}
    start = page(dict.fromkeys(NAMES, before), dict.fromkeys(range(len(rejected)), before))
    end = page(
        {name: value + before for name, value in counts.items()},
        {index: value + before for index, value in enumerate(by_position)},
    )
    found = counted(start, end)
    assert found == DraftCounts(**counts, by_position=tuple(by_position), finished=None)


IMPOSSIBLE = {
    "72 tokens accepted of 48 drafted": ({"drafts": 16, "drafted": 48, "accepted": 72}, {}),
    "0 tokens in 16 drafts": ({"drafts": 16}, {}),
    "15 tokens in 16 drafts": ({"drafts": 16, "drafted": 15}, {}),
    "48 tokens in 0 drafts": ({"drafted": 48}, {}),
    "positions 1, 2, which do not count from 0": (
        {"drafts": 16, "drafted": 48, "accepted": 9},
        {1: 5, 2: 4},
    ),
    "positions -1, which do not": ({"drafts": 16, "drafted": 48, "accepted": 5}, {-1: 5}),
    "9 tokens accepted at all positions, 8 in all": (
        {"drafts": 16, "drafted": 48, "accepted": 8},
        {0: 5, 1: 4},
    ),
    "17 tokens accepted at a position of 16 drafts": (
        {"drafts": 16, "drafted": 48, "accepted": 17},
        {0: 17},
    ),
}


@pytest.mark.parametrize("fault", IMPOSSIBLE)
def test_counts_that_no_drafts_can_have_are_refused(fault: str) -> None:
    with pytest.raises(UserError) as error:
        counted(page(*IMPOSSIBLE[fault]))
    assert f"The server's counters are impossible: {fault}" in str(error.value)


@pytest.mark.parametrize("value", ["-1", "1e300", "-1e-9"])
def test_a_value_that_is_not_a_count_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"num_drafts_total is .*, which is not a count"):
        counted(page({"drafts": value}))


def test_a_counter_that_fell_or_rose_by_a_part_is_refused() -> None:
    with pytest.raises(UserError, match="num_drafts fell: the server was restarted"):
        counted(page({"drafts": 5, "drafted": 5}), page({"drafts": 3, "drafted": 5}))
    with pytest.raises(UserError, match="num_drafts fell"):
        counted(page({"drafts": 5}), "")
    with pytest.raises(UserError, match=r"rose by 1\.5, which is not a count"):
        counted(page({"drafts": 0}), page({"drafts": 1.5}))


def _seconds(text: str) -> float:
    started = process_time()
    count_drafts(read_counters("", ["m"]), read_counters(text, ["m"]))
    return process_time() - started


def test_a_page_of_many_positions_is_read_in_linear_time() -> None:
    """In quadratic time, 16 times the positions take 256 times as long."""

    def positions(count: int) -> str:
        counts = {"drafts": count, "drafted": count * count, "accepted": count}
        return page(counts, dict.fromkeys(range(count), 1))

    few = min(_seconds(positions(3_750)) for _ in range(3))
    assert _seconds(positions(60_000)) < 64 * few
