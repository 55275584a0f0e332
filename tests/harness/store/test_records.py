"""Records come back from disk as they were written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.errors import UserError
from draftmark.speculation.blocks import VLLM, block_counts
from draftmark.store.acceptance_tables import read_tables, sliding_table, write_tables
from draftmark.store.records import (
    read_decodes,
    read_rows,
    read_texts,
    write_decodes,
    write_rows,
    write_texts,
)
from draftmark.types import AcceptanceTable, Decode, Round, Text, TimedDecode

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
tokens = st.lists(st.integers(0, 2**31), max_size=6).map(tuple)
reasons = st.sampled_from(["stop", "length"])
seconds = st.floats(0, 1e6)
probabilities = st.floats(0, 1)
texts = st.builds(Text, names, tokens, tokens, reasons)
quickly = settings(max_examples=40, deadline=None)


@st.composite
def rounds(draw: st.DrawFn) -> tuple[Round, ...]:
    drafted = draw(st.lists(st.integers(0, 16), max_size=4))
    return tuple(Round(number, draw(st.integers(0, number))) for number in drafted)


decodes = st.builds(
    Decode, names, tokens, st.integers(1, 2048), rounds(), seconds, seconds, reasons
)
timed_decodes = st.builds(
    TimedDecode, st.sampled_from(["target", "draft"]), st.integers(0, 9), st.integers(0, 1), decodes
)


def _array(draw: st.DrawFn, *shape: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    size = int(np.prod(shape))
    values = draw(st.lists(probabilities, min_size=size, max_size=size))
    return np.array(values, dtype=np.float64).reshape(shape)


@st.composite
def tables(draw: st.DrawFn) -> AcceptanceTable:
    """Return a table that slides, or one that drafts what it likes where it likes."""
    length, depth = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    overlap_S, match_S = _array(draw, length), _array(draw, length)
    if draw(st.booleans()):
        greedy = (_array(draw, length) > 0.5, overlap_S) if draw(st.booleans()) else ()
        return sliding_table(draw(names), _array(draw, length), overlap_S, match_S, depth, *greedy)
    drafted = [draw(st.integers(0, depth)) for start in range(length)]
    constant = draw(st.sampled_from([None, 0.0, 1.0]))
    accept_SD = (
        _array(draw, length, depth) if constant is None else np.full((length, depth), constant)
    )
    return AcceptanceTable(
        draw(names),
        accept_SD,
        np.array(drafted),
        overlap_S,
        match_S,
        draw(st.one_of(st.none(), st.integers(length, 9))),
        draw(st.sampled_from([None, (3, 6, 8)])),
        greedy_SD=accept_SD > draw(st.floats(0, 1)),
        greedy_overlap_S=overlap_S,
        ratio_SD=draw(st.sampled_from([None, np.where(accept_SD < 1, accept_SD, 1e12)])),
        proposed_S=draw(st.sampled_from([None, np.array(drafted)])),
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records") / "records.parquet"


@quickly
@given(written=st.lists(texts, min_size=1, max_size=4))
def test_texts_come_back(path: Path, written: list[Text]) -> None:
    write_texts(path, written)

    assert read_texts(path) == written


@quickly
@given(written=st.lists(timed_decodes, min_size=1, max_size=4))
def test_decodes_come_back(path: Path, written: list[TimedDecode]) -> None:
    write_decodes(path, written)

    assert read_decodes(path) == written


@quickly
@given(written=st.lists(tables(), min_size=1, max_size=4))
def test_acceptance_tables_come_back(path: Path, written: list[AcceptanceTable]) -> None:
    write_tables(path, iter(written))

    for back, table in zip(read_tables(path), written, strict=True):
        assert back.example_id == table.example_id
        np.testing.assert_array_equal(back.accept_SD, table.accept_SD)
        np.testing.assert_array_equal(back.drafted_S, table.drafted_S)
        np.testing.assert_array_equal(back.overlap_S, table.overlap_S)
        np.testing.assert_array_equal(back.greedy_match_S, table.greedy_match_S)
        assert (back.limit, back.nodes) == (table.limit, table.nodes)
        for name in ("greedy_SD", "greedy_overlap_S", "ratio_SD", "proposed_S"):
            np.testing.assert_array_equal(getattr(back, name), getattr(table, name))


def test_tables_of_the_first_format_count_as_they_did(path: Path) -> None:
    """They cut what was drafted at the end of the text, and have no length limit."""
    accept = [0.5, 0.25, 1.0]
    row = {"example_id": "a", "depth": 4, "accept": accept, "drafted": [3, 2, 1]}
    lookup = {**row, "drafted": [2, 0, 1], "accept": np.zeros(12).tolist()}
    others = {"overlap": accept, "greedy_match": accept}
    write_rows(path, [{**row, **others}, {**lookup, **others}])

    model, found = read_tables(path)

    assert (model.limit, model.greedy_SD, model.ratio_SD, model.proposed_S) == (None,) * 4
    np.testing.assert_array_equal(model.accept_SD[1], [0.25, 1.0, 0.0, 0.0])
    # The model's blocks: 3 drafted at 0; 2 at 1 after a rejection (0.5); 1 at 2 likewise.
    at_2 = 0.5 * 0.75 + 0.5 * 0.75  # rejected at 1, from either start
    assert block_counts([model], 4).drafted_B[0] == pytest.approx(3 + 2 * 0.5 + at_2)
    assert block_counts([found], 4).drafted_B[0] == 2 + 0 + 1
    assert block_counts([model], 4, VLLM).drafted_B[0] == 4 + 4 * 0.75


def test_a_method_that_drafts_nothing_comes_back_as_one(path: Path) -> None:
    """Prompt lookup may find nothing to draft anywhere: each token is then a plain target pass."""
    zeros_S = np.zeros(3)
    table = AcceptanceTable("a", np.zeros((3, 2)), np.zeros(3, dtype=np.int64), zeros_S, zeros_S)
    write_tables(path, [table])

    counts = block_counts(read_tables(path), 2)

    assert (counts.drafted_B.sum(), counts.passes_B.sum()) == (0, 3)


def test_a_table_that_slides_is_stored_by_its_starts_alone(path: Path) -> None:
    some_S = np.linspace(0.1, 0.9, 5)
    write_tables(path, [sliding_table("a", some_S, some_S, some_S, depth=4)])

    assert read_rows(path)[0]["accept"] == some_S.tolist()


@pytest.mark.parametrize("write", [write_rows, write_texts, write_tables, write_decodes])
def test_nothing_to_write_is_an_error(tmp_path: Path, write: Callable[[Path, Any], None]) -> None:
    with pytest.raises(ValueError, match=r"no rows for empty\.parquet"):
        write(tmp_path / "empty.parquet", [])

    assert not (tmp_path / "empty.parquet").exists()


def _table_of(overlap: float) -> AcceptanceTable:
    values_S = np.full(3, 0.5)
    return sliding_table("a/0", values_S, np.full(3, overlap), values_S, 2)


def test_an_overlap_that_rounding_made_negative_is_read(path: Path) -> None:
    write_tables(path, [_table_of(-2.4e-7)])

    [table] = read_tables(path)

    assert (table.overlap_S < 0).all()


@pytest.mark.parametrize("overlap", [-0.5, 1.5, 1e9])
def test_what_is_not_a_probability_is_refused(path: Path, overlap: float) -> None:
    write_tables(path, [_table_of(overlap)])

    with pytest.raises(UserError, match=r"a/0: a probability is not between 0 and 1; run the"):
        read_tables(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ratio": [1.5, 0.5, 0.5]}, "is not that of its acceptance"),
        ({"ratio": [float("nan"), 0.5, 0.5]}, "is missing or not finite"),
        ({"proposed": [3, 0, 0]}, "more tokens are drafted than a block holds"),
        ({"proposed": [0, 0]}, "its columns have different lengths"),
    ],
)
def test_ratios_and_draws_that_do_not_fit_are_refused(
    path: Path, changes: dict[str, Any], words: str
) -> None:
    half = [0.5, 0.5, 0.5]
    row = {"example_id": "a", "depth": 2, "accept": half, "drafted": [2, 2, 2], "limit": 3}
    write_rows(path, [{**row, "overlap": half, "greedy_match": half, **changes}])

    with pytest.raises(UserError, match=words):
        read_tables(path)


@pytest.mark.parametrize(
    ("drafted", "accepted", "words"),
    [([2], [3], "more tokens were accepted than drafted"), ([2, 2], [1], "of the same rounds")],
)
def test_impossible_counts_are_refused(
    path: Path, drafted: list[int], accepted: list[int], words: str
) -> None:
    row = {"arm": "draft", "block": 0, "repeat": 0, "example_id": "a", "token_ids": [1]}
    times = {"prefill_s": 0.1, "decode_s": 0.1, "num_prompt_tokens": 1, "finish_reason": "stop"}
    write_rows(path, [{**row, **times, "drafted": drafted, "accepted": accepted}])

    with pytest.raises(UserError, match=words):
        read_decodes(path)


def test_a_file_that_is_none_of_ours_is_refused(path: Path) -> None:
    path.write_bytes(b"PAR1")

    with pytest.raises(UserError, match="cannot be read"):
        read_rows(path)
