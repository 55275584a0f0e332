"""The counts per prompt of a submission, in a small Parquet file that anybody may have made.

A row has the counts of one cell, prompt and condition: temperature, block length and rule of
verification. The file holds numbers alone and is not compressed, so its size bounds what reading it
takes. Prompts are numbers in the order of the suite.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from draftmark.analysis.count_columns import (
    COUNTED,
    grouped,
    read_count_table,
)
from draftmark.analysis.quantities import DEFINITIONS, RATES, Quantity, quantity_key, rate_bounds
from draftmark.speculation.blocks import BlockSums
from draftmark.store.acceptance_tables import Floats
from draftmark.store.files import replace_file
from draftmark.store.parquet_probe import require_readable
from draftmark.store.plain_files import NotPlain, read_plain
from draftmark.store.reading import explained
from draftmark.types import Verification

FILE = "records/counts.parquet"
MAX_BYTES = 1_000_000
MAX_ROWS = 100_000
RATED = ("block_efficiency", "acceptance_rate")  # the rates that a row claims
FIX = "pack the run again with draftmark submit"
_OWN_SCHEMA = b"ARROW:schema"  # what pyarrow writes of the columns' types
_TYPES = {
    **{"cell": pa.int16(), "temperature": pa.float64(), "gamma": pa.int16(), "block": pa.bool_()},
    **{"prompt": pa.int32(), **dict.fromkeys(COUNTED, pa.float64())},
}
_SCHEMA = pa.schema(list(_TYPES.items()))


class Condition(NamedTuple):
    """What the counts of a cell were measured under."""

    cell: int  # its place among the results of the submission
    temperature: float
    gamma: int
    verification: Verification

    def key(self, rate: str) -> str:
        """Return the key of a rate under this condition."""
        return quantity_key(rate, self.temperature, self.gamma, verification=self.verification)


@dataclass(frozen=True)
class PromptCounts:
    """The counts of each prompt [B] under a condition, by column; prompts are in order."""

    prompts_B: Any
    columns: Mapping[str, Floats]

    @property
    def are_whole(self) -> bool:
        """True if every count is a whole number, as those of greedy drafts of greedy texts are."""
        return all((counts_B == np.rint(counts_B)).all() for counts_B in self.columns.values())

    def equals(self, other: "PromptCounts") -> bool:
        """True if every count of every prompt is that of the other counts."""
        return all(np.array_equal(it, other.columns[name]) for name, it in self.columns.items())

    def quantity(self, rate: str, gamma: int) -> Quantity:
        """Return a rate as a quantity; prompts are named by their numbers."""
        top, bottom = RATES[rate]
        counts = self.columns[top], self.columns[bottom]
        names = tuple(map(str, self.prompts_B.tolist()))
        return Quantity(counts, DEFINITIONS[rate], names, rate_bounds(rate, gamma))


Counts = Mapping[Condition, PromptCounts]


def counts_of(sums: BlockSums) -> PromptCounts:
    """Return the sums of blocks by column."""
    columns = {name: getattr(sums, f"{name}_B") for name in COUNTED}
    return PromptCounts(np.arange(len(sums.tokens_B)), columns)


def write_counts(path: Path, counts: Counts) -> None:
    """Write the counts of a submission."""
    parts = [
        {
            **{name: np.full(len(own.prompts_B), value) for name, value in _named(at).items()},
            "prompt": own.prompts_B,
            **own.columns,
        }
        for at, own in counts.items()
    ]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in _TYPES}
    table = pa.Table.from_pydict(columns, schema=_SCHEMA)
    with replace_file(path) as file:
        pq.write_table(table, file, compression="none")


def _named(at: Condition) -> dict[str, Any]:
    block = at.verification == "block"
    return {"cell": at.cell, "temperature": at.temperature, "gamma": at.gamma, "block": block}


def read_counts(path: Path) -> Counts:
    """Return the counts in a file; raises UserError if it is malformed, or NotPlain if too large.

    The file is compared with the schema and with the limits before a column is read.
    """
    data = read_plain(path, MAX_BYTES)
    require_readable(path, MAX_ROWS, FIX)
    with explained(path, FIX):
        check = partial(_check_footer, path)
        table, _ = read_count_table(path, data, _SCHEMA, MAX_ROWS, check)
        return dict(_grouped({name: table[name].to_numpy() for name in _TYPES}))


def _check_footer(path: Path, facts: Any) -> None:
    """Raise NotPlain if a file is compressed, or ValueError if its footer holds other facts."""
    if (facts.metadata or {}).keys() - {_OWN_SCHEMA}:
        raise ValueError("its footer has text, and a submission's counts have none")
    groups = (facts.row_group(place) for place in range(facts.num_row_groups))
    for group in groups:
        for place in range(group.num_columns):
            if group.column(place).compression != "UNCOMPRESSED":
                raise NotPlain(f"{path} is compressed, so it may unpack to any size; {FIX}.")


def _grouped(columns: Mapping[str, Any]) -> Iterator[tuple[Condition, PromptCounts]]:
    """Yield the counts of each condition, sorted by prompt."""
    for key, found in grouped(columns, ("cell", "temperature", "gamma", "block")):
        cell, temperature, gamma, block = key
        at = Condition(cell, temperature, gamma, "block" if block else "standard")
        yield at, PromptCounts(found["prompt"], {name: found[name] for name in COUNTED})


def quantities(counts: Counts, cells: Sequence[int]) -> list[dict[str, Quantity]]:
    """Return the claimed rates of each of the cells, by key."""
    return [
        {
            at.key(rate): own.quantity(rate, at.gamma)
            for at, own in counts.items()
            if at.cell == cell
            for rate in RATED
            if own.columns[RATES[rate][1]].sum() > 0
        }
        for cell in cells
    ]
