"""Bounds Parquet files that someone else may have written, before their rows are read.

Equal values take next to no room in such a file, so a few kilobytes may unpack to any size.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from draftmark.store.plain_files import NotPlain, open_plain

MAX_VALUES = 2**27  # of all columns, those inside lists included
MAX_BYTES = 4 * 2**30  # of all columns, unpacked


def check_parquet(path: Path) -> None:
    """Raise NotPlain if a Parquet file would unpack to more than memory takes, or is not plain.

    What its footer claims is compared; pyarrow raises for a file that is malformed.
    """
    with open_plain(path) as plain, pq.ParquetFile(plain) as file:
        facts = file.metadata
        groups = [facts.row_group(place) for place in range(facts.num_row_groups)]
        chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
        values = max(facts.num_rows, sum(chunk.num_values for chunk in chunks))
        size = sum(chunk.total_uncompressed_size for chunk in chunks)
    if values > MAX_VALUES or size > MAX_BYTES:
        raise NotPlain(
            f"{path} claims {values} values of {size / 1e9:.1f} GB; of such a file {MAX_VALUES} "
            f"values of {MAX_BYTES / 1e9:.1f} GB are read at most; split it."
        )
    texts = {chunk.path_in_schema for chunk in chunks if chunk.physical_type == "BYTE_ARRAY"}
    if texts and values * size > MAX_BYTES:  # the texts may be equal, and so stored once
        _check_texts(path, sorted(texts))


def _check_texts(path: Path, columns: list[str]) -> None:
    """Raise NotPlain if the texts of a file, counted as often as they are used, are too long."""
    with open_plain(path) as plain, pq.ParquetFile(plain, read_dictionary=columns) as file:
        table = file.read(columns, use_threads=False)
    size = sum(_text_bytes(chunk) for column in table.columns for chunk in column.chunks)
    if size > MAX_BYTES:
        raise NotPlain(f"{path} unpacks to {size / 1e9:.1f} GB of text; split it.")


def _text_bytes(values: Any) -> int:
    """Return the bytes of the texts in an array of texts, or of lists or objects with texts."""
    if pa.types.is_dictionary(values.type):
        lengths = pc.binary_length(values.dictionary)
        return int(pc.sum(pc.cast(lengths, pa.int64()).take(values.indices)).as_py() or 0)
    if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        return int(values.nbytes)
    inside = values.flatten() if pa.types.is_nested(values.type) else []
    return sum(map(_text_bytes, inside if isinstance(inside, list) else [inside]))
