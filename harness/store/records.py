"""Records in Parquet: texts, decodes and other per-prompt facts; rates are derived later."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from draftmark.config.model_sections import Writer
from draftmark.store.files import replace_file
from draftmark.types import Decode, FinishReason, Round, Text, TimedDecode

DRAFT = "draft.json"  # a draft's ledger and training history, beside its weights
TARGET = "target.json"  # the same for a fine-tuned target
SELECTION = "selection.parquet"  # the tokens that a training kept
TEXTS, TABLES, DECODES = "texts.parquet", "tables.parquet", "decodes.parquet"
GRADES, LIKELIHOODS, VERDICTS = "grades.parquet", "likelihoods.parquet", "verdicts.parquet"


def tables_name(temperature: float) -> str:
    """Return the file name of a cell's acceptance tables at a temperature."""
    return f"tables-t{temperature:g}.parquet"


def training_texts(writer: Writer) -> str:
    """Return the input name of a draft's training texts, by their writer."""
    return f"{writer} texts"


def training_states(texts: str) -> str:
    """Return the input name of the target's hidden states on training texts."""
    return f"states of {texts}"


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as a Parquet file; raises ValueError if there are none."""
    if not rows:
        raise ValueError(f"no rows for {path.name}")
    with replace_file(path) as file:
        pq.write_table(pa.Table.from_pylist(list(rows)), file)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file."""
    with pq.ParquetFile(path) as file:  # `read_table` would load pandas
        rows: list[dict[str, Any]] = file.read().to_pylist()
    return rows


def write_texts(path: Path, texts: Sequence[Text]) -> None:
    """Write texts in their order; raises ValueError if there are none."""
    write_rows(path, [vars(text) for text in texts])


def read_texts(path: Path) -> list[Text]:
    """Return texts in the order in which they were written."""
    return [
        Text(
            row["example_id"],
            tuple(row["prompt_ids"]),
            tuple(row["response_ids"]),
            row["finish_reason"],
        )
        for row in read_rows(path)
    ]


def write_decodes(path: Path, timed: Sequence[TimedDecode]) -> None:
    """Write decodes, each with its arm, block and repeat; raises ValueError if there are none."""
    write_rows(
        path,
        [
            {
                "arm": item.arm,
                "block": item.block,
                "repeat": item.repeat,
                "example_id": item.decode.example_id,
                "token_ids": list(item.decode.token_ids),
                "num_prompt_tokens": item.decode.num_prompt_tokens,
                "drafted": [round_.drafted for round_ in item.decode.rounds],
                "accepted": [round_.accepted for round_ in item.decode.rounds],
                "prefill_s": item.decode.prefill_s,
                "decode_s": item.decode.decode_s,
                "finish_reason": item.decode.finish_reason,
                "first_token_s": item.decode.first_token_s,
            }
            for item in timed
        ],
    )


def read_decodes(path: Path) -> list[TimedDecode]:
    """Return decodes in the order in which they were written."""
    timed = []
    for row in read_rows(path):  # the first format has no `first_token_s`
        arm, block, repeat = (row.pop(name) for name in ("arm", "block", "repeat"))
        row["token_ids"] = tuple(row["token_ids"])
        rounds = tuple(map(Round, row.pop("drafted"), row.pop("accepted")))
        timed.append(TimedDecode(arm, block, repeat, Decode(**row, rounds=rounds)))
    return timed


@dataclass(frozen=True)
class Answer:
    """A response of one arm of a measurement, or of a model "alone"."""

    arm: str
    example_id: str
    token_ids: Sequence[int]
    finish_reason: FinishReason


def read_answers(directory: Path) -> list[Answer]:
    """Return the answers in a folder of decodes (first repeat) or of responses."""
    if (directory / DECODES).exists():
        return [
            Answer(item.arm, decode.example_id, decode.token_ids, decode.finish_reason)
            for item in read_decodes(directory / DECODES)
            if item.repeat == 0 and (decode := item.decode)
        ]
    return [
        Answer("alone", text.example_id, text.response_ids, text.finish_reason)
        for text in read_texts(directory / TEXTS)
    ]


def samples_name(who: str, temperature: float) -> str:
    """Return the file name of a model's graded samples at a temperature."""
    return f"{who}-samples-t{temperature:g}.parquet"
