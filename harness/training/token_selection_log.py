"""The log of token selections: which tokens a training kept, and their gaps.

A method that keeps some of a step's tokens logs 16 steps, evenly over the training. The logged
steps are a function of progress, so an interruption does not change them. At the end the log
becomes part of the training's result; a run's folder has a copy with the text of each token.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from draftmark.store.graph import RESULT_FILES
from draftmark.store.records import SELECTION

if TYPE_CHECKING:
    import torch

    from draftmark.training.batches import Batch

SNAPSHOTS = 16
MOST_TOKENS = 16_384  # of a step that are logged; a larger step logs every 2nd, 3rd ... token
_NOTES = "selections"


def log_selection(
    scratch: Path, gap_N: "torch.Tensor", kept_N: "torch.Tensor", batch: "Batch"
) -> None:
    """Log a step's gaps [N] and kept tokens [N], unless its part of the training has a log."""
    file = scratch / _NOTES / f"{int(batch.done * SNAPSHOTS):02d}.parquet"
    if file.exists():
        return
    logged = slice(None, None, -(-len(gap_N) // MOST_TOKENS))
    rows = batch.rows_N[logged].tolist()
    columns = {
        "step": pa.array([batch.step] * len(rows), pa.int32()),
        "done": pa.array([batch.done] * len(rows), pa.float32()),
        "example_id": pa.array([batch.example_ids[row] for row in rows], pa.string()),
        "position": pa.array(batch.positions_N[logged].tolist(), pa.int32()),
        "token_id": pa.array(batch.labels_N[logged].tolist(), pa.int32()),
        "gap": pa.array(gap_N[logged].tolist(), pa.float32()),
        "kept": pa.array((kept_N[logged] > 0).tolist(), pa.bool_()),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".writing")
    pq.write_table(pa.table(columns), temporary)
    temporary.replace(file)


def gather_selections(scratch: Path) -> None:
    """Move the log of a finished training to the folder that becomes part of its result."""
    notes = sorted((scratch / _NOTES).glob("*.parquet"))
    if notes:
        (scratch / RESULT_FILES).mkdir(exist_ok=True)
        pq.write_table(
            pa.concat_tables(map(pq.read_table, notes)), scratch / RESULT_FILES / SELECTION
        )


def publish_selections(draft: Path, folder: Path) -> None:
    """Copy a draft's log, if it has one, into a folder of records, with the text of each token.

    `token` is null and `special` false if the draft has no tokenizer.json.
    """
    if not (draft / SELECTION).is_file():
        return
    import pyarrow.compute as pc

    table = pq.read_table(draft / SELECTION)
    ids = pc.unique(table["token_id"]).to_pylist()
    index = pc.index_in(table["token_id"], pa.array(ids, pa.int32()))
    for name, values in _decode(draft / "tokenizer.json", ids).items():
        table = table.append_column(name, values.take(index))
    pq.write_table(table, folder / SELECTION)


def _decode(tokenizer_file: Path, ids: Sequence[int]) -> dict[str, Any]:
    if not tokenizer_file.is_file():
        return {"token": pa.nulls(len(ids), pa.string()), "special": pa.array([False] * len(ids))}
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    added = {key for key, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    texts = [tokenizer.decode([key], skip_special_tokens=False) for key in ids]
    return {"token": pa.array(texts, pa.string()), "special": pa.array([k in added for k in ids])}
