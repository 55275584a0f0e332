"""Acceptance tables in Parquet, and the tables of drafts that ignore where a block starts."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from draftmark.errors import UserError
from draftmark.store.reading import explained
from draftmark.store.records import read_rows, write_rows
from draftmark.types import AcceptanceTable, Verification

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


_ROUNDING = 1e-3  # of a sum over the vocabulary: an overlap of 0 may be stored as -2e-7


def sliding_table(
    example_id: str,
    accept_S: Floats,
    overlap_S: Floats,
    greedy_match_S: Floats,
    depth: int,
    greedy_S: Bools | None = None,
    greedy_overlap_S: Floats | None = None,
    ratio_S: Floats | None = None,
) -> AcceptanceTable:
    """Return the table of a draft whose distribution does not depend on the block's start.

    The draft proposes `depth` tokens at every start. accept_SD[s, j] is accept_S[s + j], and 0
    beyond the end of the text; greedy_SD and ratio_SD likewise.
    """
    return AcceptanceTable(
        example_id,
        accept_SD=_slide(accept_S, depth),
        drafted_S=np.full(len(accept_S), depth),
        overlap_S=overlap_S,
        greedy_match_S=greedy_match_S,
        greedy_SD=None if greedy_S is None else _slide(greedy_S, depth),
        greedy_overlap_S=greedy_overlap_S,
        ratio_SD=None if ratio_S is None or all_or_nothing(accept_S) else _slide(ratio_S, depth),
    )


def all_or_nothing(accept: Floats) -> bool:
    """True if every probability is 0 or 1: both rules of verification then accept the same.

    Given y, a token of a ratio q(y) / p(y) of 1 or more then follows tokens of such ratios alone.
    """
    return bool(np.isin(accept, (0.0, 1.0)).all())


def verifications_of(tables: Iterable[AcceptanceTable]) -> tuple[Verification, ...]:
    """Return the rules of verification whose block statistics all tables have."""
    known = all(table.ratio_SD is not None or all_or_nothing(table.accept_SD) for table in tables)
    return ("standard", "block") if known else ("standard",)


def _slide(values_S: Any, depth: int) -> Any:
    """Return the array [S, D] whose element [s, j] is values_S[s + j], 0 beyond the end."""
    padded = np.concatenate([values_S, np.zeros(depth, dtype=values_S.dtype)])
    return np.lib.stride_tricks.sliding_window_view(padded, depth)[: len(values_S)]


def deterministic(table: AcceptanceTable) -> AcceptanceTable:
    """Return the table of a draft that is the same whether it is sampled or greedy."""
    return replace(table, greedy_SD=table.accept_SD > 0, greedy_overlap_S=table.overlap_S)


def with_greedy_draft(table: AcceptanceTable) -> AcceptanceTable | None:
    """Return the table of the same draft when it drafts its most likely token.

    None if the table has none: its draft was not sampled, or an old version wrote the table. None
    too if the number of drafted tokens depends on what is drafted.
    """
    if table.greedy_SD is None or table.greedy_overlap_S is None or table.proposed_S is not None:
        return None
    return replace(
        table,
        accept_SD=table.greedy_SD.astype(np.float64),
        overlap_S=table.greedy_overlap_S,
        greedy_SD=None,
        greedy_overlap_S=None,
        ratio_SD=None,
    )


def write_tables(path: Path, tables: Iterable[AcceptanceTable]) -> None:
    """Write acceptance tables.

    Raises ValueError if there are none, UserError if one holds a number that is not finite.
    """
    tables = list(tables)
    for table in tables:
        _check_finite(table)
    write_rows(
        path,
        [
            {
                "example_id": table.example_id,
                "depth": table.accept_SD.shape[1],
                "accept": _stored(table.accept_SD),
                "drafted": table.drafted_S.tolist(),
                "overlap": table.overlap_S.tolist(),
                "greedy_match": table.greedy_match_S.tolist(),
                "limit": table.limit,
                "nodes": None if table.nodes is None else list(table.nodes),
                "greedy": None if table.greedy_SD is None else _stored(table.greedy_SD),
                "greedy_overlap": None
                if table.greedy_overlap_S is None
                else table.greedy_overlap_S.tolist(),
                "ratio": None if table.ratio_SD is None else _stored(table.ratio_SD),
                "proposed": None if table.proposed_S is None else table.proposed_S.tolist(),
            }
            for table in tables
        ],
    )


def _check_finite(table: AcceptanceTable) -> None:
    stored = (table.accept_SD, table.overlap_S, table.greedy_match_S, table.greedy_overlap_S)
    for values in (*stored, table.ratio_SD):
        if values is not None and not np.isfinite(values).all():
            raise UserError(
                f"{table.example_id}: the acceptance table holds numbers that are not finite; the "
                "draft, or the target, computes them."
            )


def _stored(values_SD: Floats | Bools) -> list[Any]:
    """Return the first column of values that slide, else all values flattened by rows."""
    slides = np.array_equal(_slide(values_SD[:, 0], values_SD.shape[1]), values_SD)
    values: list[Any] = (values_SD[:, 0] if slides else values_SD.ravel()).tolist()
    return values


def _restored(values: list[Any], length: int, depth: int, dtype: type) -> Any:
    """Return the values [S, D] that `_stored` stored."""
    stored: Any = np.array(values, dtype=dtype)
    return _slide(stored, depth) if len(stored) == length else stored.reshape(length, depth)


def read_tables(path: Path) -> list[AcceptanceTable]:
    """Return acceptance tables in the order in which they were written.

    Raises UserError if the file is malformed.
    """
    with explained(path):
        tables = [_table(row) for row in read_rows(path)]
        for table in tables:
            _check_shape(table)
    return tables


def _check_shape(table: AcceptanceTable) -> None:
    """Raise ValueError if the arrays of a table do not fit, or are not finite."""
    name, length = table.example_id, len(table.accept_SD)
    if not isinstance(name, str):
        raise TypeError("the name of a prompt must be text")
    by_start = (table.overlap_S, table.greedy_match_S, table.greedy_overlap_S)
    for values in (*by_start, table.proposed_S):
        if values is not None and values.shape != (length,):
            raise ValueError(f"{name}: its columns have different lengths")
    for values in (table.accept_SD, *by_start):
        if values is not None and not (np.abs(values - 0.5) <= 0.5 + _ROUNDING).all():
            raise ValueError(f"{name}: a probability is not between 0 and 1")
    if table.greedy_SD is not None and table.greedy_SD.shape != table.accept_SD.shape:
        raise ValueError(f"{name}: the greedy draft has another number of tokens")
    _check_token_counts(table)
    _check_ratios(table)


def _check_token_counts(table: AcceptanceTable) -> None:
    """Raise ValueError for numbers of tokens below 0, or above what a block holds."""
    name, depth = table.example_id, table.accept_SD.shape[1]
    for count in (*(table.nodes or ()), *([] if table.limit is None else [table.limit])):
        if not isinstance(count, int) or count < 0:
            raise ValueError(f"{name}: {count!r} is not a number of tokens")
    for drafted_S in (table.drafted_S, table.proposed_S):
        if drafted_S is not None and ((drafted_S < 0) | (drafted_S > depth)).any():
            raise ValueError(
                f"{name}: more tokens are drafted than a block holds, or fewer than none"
            )


def _check_ratios(table: AcceptanceTable) -> None:
    """Raise ValueError unless the ratios q(y) / p(y) are finite and fit the probabilities."""
    if (ratio_SD := table.ratio_SD) is None:
        return
    if ratio_SD.shape != table.accept_SD.shape or not np.isfinite(ratio_SD).all():
        raise ValueError(f"{table.example_id}: a ratio q(y) / p(y) is missing or not finite")
    if (np.abs(np.minimum(ratio_SD, 1.0) - table.accept_SD) > _ROUNDING).any():
        raise ValueError(f"{table.example_id}: a ratio q(y) / p(y) is not that of its acceptance")


def _table(row: Mapping[str, Any]) -> AcceptanceTable:
    length, depth = len(row["drafted"]), row["depth"]
    nodes, greedy, greedy_overlap, ratio, proposed = (
        row.get(name) for name in ("nodes", "greedy", "greedy_overlap", "ratio", "proposed")
    )
    return AcceptanceTable(
        row["example_id"],
        _restored(row["accept"], length, depth, np.float64),
        _drafted(row, depth),
        np.array(row["overlap"], dtype=np.float64),
        np.array(row["greedy_match"], dtype=np.float64),
        row.get("limit"),
        None if nodes is None else tuple(nodes),
        None if greedy is None else _restored(greedy, length, depth, np.bool_),
        None if greedy_overlap is None else np.array(greedy_overlap, dtype=np.float64),
        None if ratio is None else _restored(ratio, length, depth, np.float64),
        None if proposed is None else np.array(proposed, dtype=np.int64),
    )


def _drafted(row: Mapping[str, Any], depth: int) -> Ints:
    """Return the numbers of drafted tokens [S].

    The first format cut them at the end of the text and has no `limit`: a block that fills the text
    may have been longer.
    """
    drafted_S = np.array(row["drafted"], dtype=np.int64)
    if "limit" in row:
        return drafted_S
    return np.where(drafted_S == len(drafted_S) - np.arange(len(drafted_S)), depth, drafted_S)
