"""Records in Parquet: texts, decodes and other per-prompt facts; rates are derived later."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, model_validator

from draftmark.config.model_sections import Writer
from draftmark.store.files import replace_file
from draftmark.store.reading import Count, Seconds, adapter, explained
from draftmark.types import Arm, Decode, FinishReason, Round, Text, TimedDecode

DRAFT = "draft.json"  # a draft's ledger and training history, beside its weights
TARGET = "target.json"  # the same for a fine-tuned target
SELECTION = "selection.parquet"  # the tokens that a training kept
ENGINE = "engine.json"  # the settings of the engine that wrote texts, beside them
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
    """Return the rows of a Parquet file; raises UserError if it is malformed."""
    with explained(path), pq.ParquetFile(path) as file:  # `read_table` would load pandas
        rows: list[dict[str, Any]] = file.read().to_pylist()
        if not rows:
            raise ValueError("it has no rows")
    return rows


def read_rows_as(path: Path, kind: Any) -> list[Any]:
    """Return the rows of a Parquet file as instances of `kind`.

    Raises UserError if the file is malformed or a row is not of that kind.
    """
    with explained(path):
        return [adapter(kind).validate_python(row) for row in read_rows(path)]


def write_texts(path: Path, texts: Sequence[Text]) -> None:
    """Write texts in their order; raises ValueError if there are none."""
    write_rows(path, [vars(text) for text in texts])


def read_texts(path: Path) -> list[Text]:
    """Return texts in the order in which they were written; raises UserError if malformed."""
    with explained(path):
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
    """Return decodes in the order in which they were written; raises UserError if malformed."""
    with explained(path):
        return [_timed_decode(_DecodeRow.model_validate(row)) for row in read_rows(path)]


class _DecodeRow(BaseModel):
    """A row of decodes; the first format has no `first_token_s`."""

    arm: Arm
    block: Count
    repeat: Count
    example_id: str
    token_ids: tuple[Count, ...]
    num_prompt_tokens: Count
    drafted: list[Count]
    accepted: list[Count]
    prefill_s: Seconds
    decode_s: Seconds
    finish_reason: FinishReason
    first_token_s: Seconds | None = None

    @model_validator(mode="after")
    def _possible(self) -> "_DecodeRow":
        if len(self.drafted) != len(self.accepted):
            raise ValueError("drafted and accepted must be of the same rounds")
        if any(a > d for d, a in zip(self.drafted, self.accepted, strict=True)):
            raise ValueError("more tokens were accepted than drafted")
        return self


def _timed_decode(row: _DecodeRow) -> TimedDecode:
    rounds = tuple(map(Round, row.drafted, row.accepted))
    decode = Decode(
        row.example_id,
        row.token_ids,
        row.num_prompt_tokens,
        rounds,
        row.prefill_s,
        row.decode_s,
        row.finish_reason,
        row.first_token_s,
    )
    return TimedDecode(row.arm, row.block, row.repeat, decode)


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
