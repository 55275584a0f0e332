"""Acceptance tables: how a law that does not depend on the block's start fills one."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from draftmark.store.records import read_rows, write_rows
from draftmark.types import AcceptanceTable

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


def sliding_table(
    example_id: str, accept_S: Floats, overlap_S: Floats, greedy_match_S: Floats, depth: int
) -> AcceptanceTable:
    """Return the table of a draft whose law does not depend on where the block started.

    accept[s, j] is then accept_S[s + j]; a block drafts up to the end of the text.
    """
    length = len(accept_S)
    padded = np.concatenate([accept_S, np.zeros(depth)])
    accept_SD = np.lib.stride_tricks.sliding_window_view(padded, depth)[:length]
    return AcceptanceTable(
        example_id=example_id,
        accept_SD=accept_SD,
        drafted_S=np.minimum(depth, length - np.arange(length)),
        overlap_S=overlap_S,
        greedy_match_S=greedy_match_S,
    )


def write_tables(path: Path, tables: Iterable[AcceptanceTable]) -> None:
    """Write acceptance tables, in full: accept [S, D] flattened by rows."""
    write_rows(
        path,
        [
            {
                "example_id": table.example_id,
                "depth": table.accept_SD.shape[1],
                "accept": _packed(table),
                "drafted": table.drafted_S.tolist(),
                "overlap": table.overlap_S.tolist(),
                "greedy_match": table.greedy_match_S.tolist(),
            }
            for table in tables
        ],
    )


def read_tables(path: Path) -> list[AcceptanceTable]:
    """Return acceptance tables in the order in which they were written."""
    return [_unpacked(row) for row in read_rows(path)]


def _packed(table: AcceptanceTable) -> list[float]:
    """Return accept_S where the table slides along it, else accept_SD row by row."""
    by_start_S = table.accept_SD[:, 0]
    again = sliding_table(
        table.example_id,
        by_start_S,
        table.overlap_S,
        table.greedy_match_S,
        table.accept_SD.shape[1],
    )
    slides = np.array_equal(again.accept_SD, table.accept_SD)
    values: list[float] = (by_start_S if slides else table.accept_SD.ravel()).tolist()
    return values


def _unpacked(row: dict[str, Any]) -> AcceptanceTable:
    accept = np.array(row["accept"], dtype=np.float64)
    overlap_S = np.array(row["overlap"], dtype=np.float64)
    greedy_match_S = np.array(row["greedy_match"], dtype=np.float64)
    drafted_S = np.array(row["drafted"], dtype=np.int64)
    if len(accept) == len(drafted_S):
        table = sliding_table(row["example_id"], accept, overlap_S, greedy_match_S, row["depth"])
        return replace(table, drafted_S=drafted_S)
    accept_SD = accept.reshape(len(drafted_S), row["depth"])
    return AcceptanceTable(row["example_id"], accept_SD, drafted_S, overlap_S, greedy_match_S)
