"""Acceptance tables in Parquet, and the tables of drafts that ignore where a block starts."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from draftmark.errors import UserError
from draftmark.store.records import read_rows, write_rows
from draftmark.types import AcceptanceTable

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


def sliding_table(
    example_id: str, accept_S: Floats, overlap_S: Floats, greedy_match_S: Floats, depth: int
) -> AcceptanceTable:
    """Return the table of a draft whose distribution does not depend on the block's start.

    accept_SD[s, j] is accept_S[s + j], and 0 beyond the end of the text, where nothing is drafted.
    """
    drafted_S = np.minimum(depth, len(accept_S) - np.arange(len(accept_S)))
    accept_SD = _slide(accept_S, depth)
    return AcceptanceTable(example_id, accept_SD, drafted_S, overlap_S, greedy_match_S)


def _slide(accept_S: Floats, depth: int) -> Floats:
    padded = np.concatenate([accept_S, np.zeros(depth)])
    return np.lib.stride_tricks.sliding_window_view(padded, depth)[: len(accept_S)]


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
                "accept": _stored_accept(table),
                "drafted": table.drafted_S.tolist(),
                "overlap": table.overlap_S.tolist(),
                "greedy_match": table.greedy_match_S.tolist(),
            }
            for table in tables
        ],
    )


def _check_finite(table: AcceptanceTable) -> None:
    for values in (table.accept_SD, table.overlap_S, table.greedy_match_S):
        if not np.isfinite(values).all():
            raise UserError(
                f"{table.example_id}: the acceptance table holds numbers that are not finite; the "
                "draft, or the target, computes them."
            )


def _stored_accept(table: AcceptanceTable) -> list[float]:
    """Return accept_S of a sliding table, else accept_SD flattened by rows."""
    accept_SD = table.accept_SD
    slides = np.array_equal(_slide(accept_SD[:, 0], accept_SD.shape[1]), accept_SD)
    values: list[float] = (accept_SD[:, 0] if slides else accept_SD.ravel()).tolist()
    return values


def read_tables(path: Path) -> list[AcceptanceTable]:
    """Return acceptance tables in the order in which they were written."""
    tables = []
    for row in read_rows(path):
        accept, overlap_S, match_S = (
            np.array(row[name], dtype=np.float64) for name in ("accept", "overlap", "greedy_match")
        )
        drafted_S, depth = np.array(row["drafted"], dtype=np.int64), row["depth"]
        slides = len(accept) == len(drafted_S)
        accept_SD = _slide(accept, depth) if slides else accept.reshape(len(drafted_S), depth)
        tables.append(AcceptanceTable(row["example_id"], accept_SD, drafted_S, overlap_S, match_S))
    return tables
