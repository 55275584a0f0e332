"""Columns of counts per prompt, as small Parquet files have them: grouped, and checked.

Anybody may have made such a file, so what is impossible in counts is found before they are used.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from draftmark.store.acceptance_tables import Floats
from draftmark.store.plain_files import NotPlain

COUNTED = ("accepted", "tested", "drafted", "tokens", "passes")
_LARGEST = 1e9  # of a count: no text has so many tokens
_ROUNDING = 1e-6  # relative, of a sum of expected counts
Columns = Mapping[str, Any]


def read_count_table(
    path: Path, data: bytes, schema: pa.Schema, most: int, check: Callable[[Any], None]
) -> tuple[Any, Any]:
    """Return the table of a file of `most` rows at most, and the file's metadata.

    The metadata are compared with the limit, with the schema and with themselves, and go through
    `check`, before a column is read: a run of equal numbers takes a few bytes, however long it is.
    Raises NotPlain, or ValueError if the file is malformed.
    """
    limits = {f"thrift_{kind}_size_limit": len(data) for kind in ("string", "container")}
    with pq.ParquetFile(pa.BufferReader(data), memory_map=False, **limits) as file:
        _check_rows(path, file.metadata, most)
        check(file.metadata)
        columns = file.schema_arrow
        if not columns.equals(schema) or any(column.metadata for column in columns):
            raise ValueError("its columns are not those of counts")
        table = file.read(use_threads=False)
    if table.num_rows != file.metadata.num_rows or any(it.null_count for it in table.columns):
        raise ValueError("a count is missing")
    return table, file.metadata


def _check_rows(path: Path, facts: Any, most: int) -> None:
    """Raise NotPlain if a file claims too many rows; ValueError if its parts have other numbers."""
    if not 0 < facts.num_rows <= most:
        raise NotPlain(f"{path} claims {facts.num_rows} rows; it may have 1 to {most}.")
    groups = [facts.row_group(place) for place in range(facts.num_row_groups)]
    for group in groups:
        for place in range(group.num_columns):
            if group.column(place).num_values != group.num_rows:
                raise ValueError("a column has another number of values than there are rows")
    counts = [group.num_rows for group in groups] or [0]
    if min(counts) < 0 or sum(counts) != facts.num_rows:
        raise ValueError("its parts have not the rows that it claims")


def grouped(columns: Columns, keys: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], Columns]]:
    """Yield the rows of each combination of keys, sorted by prompt."""
    order = np.lexsort([columns[name] for name in ("prompt", *reversed(keys))])
    found = {name: values[order] for name, values in columns.items()}
    changes = sum((np.diff(found[name]) != 0) for name in keys)
    starts = [0, *(np.flatnonzero(changes) + 1).tolist(), len(order)]
    for start, end in pairwise(starts):
        yield (
            tuple(found[name][start].item() for name in keys),
            {name: found[name][start:end] for name in ("prompt", *COUNTED)},
        )


def prompt_fault(prompts_B: Any, number: int, whose: str) -> str:
    """Return why the prompts of a group are not `number` different ones, "" if they are."""
    if (np.diff(prompts_B) == 0).any():
        return "a prompt is there more than once"
    if not np.array_equal(prompts_B, np.arange(number)):
        return f"its prompts are not the {number} of the {whose}"
    return ""


def is_countable(values: Mapping[str, Floats]) -> bool:
    """True if every count is finite and not negative, and no larger than any text."""
    return all(
        np.isfinite(v).all() and (v >= 0).all() and (v < _LARGEST).all() for v in values.values()
    )


def count_fault(gamma: int, values: Mapping[str, Floats], rounding: float = 0.0) -> str:
    """Return why the counts of blocks of `gamma` drafted tokens cannot be, "" if they can.

    `rounding` is the largest error of a count.

    A block emits its accepted tokens and one of the target; the last one of a text may end with an
    accepted token. So tokens are accepted + passes, or up to one fewer. Drafted tokens go untested
    behind a refused one, up to `gamma` - 1 of a block, or behind the end of the text.
    """
    if not is_countable(values):
        return "a count is negative, not finite or larger than any text"
    accepted_B, tested_B, drafted_B, tokens_B, passes_B = (values[name] for name in COUNTED)
    slack_B = _ROUNDING * (1 + tokens_B) + rounding * (1 + gamma)
    faults = {
        "a text has no whole number of tokens": tokens_B != np.rint(tokens_B),
        "more tokens were accepted than tested": accepted_B > tested_B + slack_B,
        "more tokens were tested than drafted": tested_B > drafted_B + slack_B,
        "more tokens were drafted than blocks hold": drafted_B > gamma * passes_B + slack_B,
        "more tokens were refused than there are passes": tested_B
        > accepted_B + passes_B + slack_B,
        "accepted tokens and passes do not add up to the tokens": np.abs(
            accepted_B + passes_B - tokens_B - 0.5
        )
        > 0.5 + slack_B,
        "more tokens went untested than refusals explain": drafted_B - tested_B
        > (gamma - 1) * (tested_B - accepted_B) + gamma + slack_B,
    }
    return next((reason for reason, wrong_B in faults.items() if wrong_B.any()), "")
