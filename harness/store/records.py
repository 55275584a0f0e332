"""Records on disk: Parquet tables of texts, acceptance and decodes. Facts only, no rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from draftmark.config.model_sections import Writer
from draftmark.types import Decode, FinishReason, Round, Text, TimedDecode

DRAFT = "draft.json"  # what is known of a draft, beside its weights
TARGET = "target.json"  # what is known of a fine-tuned target, beside its weights
SELECTION = "selection.parquet"  # which tokens a training kept
TEXTS, TABLES, DECODES, GRADES, LIKELIHOODS, VERDICTS = (
    "texts.parquet",
    "tables.parquet",
    "decodes.parquet",
    "grades.parquet",
    "likelihoods.parquet",
    "verdicts.parquet",
)


def tables_name(temperature: float) -> str:
    """Return the file of the acceptance tables at a temperature, in a results folder."""
    return f"tables-t{temperature:g}.parquet"


def training_texts(writer: Writer) -> str:
    """Return what the training texts of a writer are called among the inputs of a draft."""
    return f"{writer} texts"


def training_states(texts: str) -> str:
    """Return what the target's states on such texts are called among the inputs of a draft."""
    return f"states of {texts}"


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as a Parquet file; raises ValueError on none: an empty table says nothing."""
    if not rows:
        raise ValueError(f"no rows for {path.name}")
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file."""
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def write_texts(path: Path, texts: Sequence[Text]) -> None:
    """Write texts in their order."""
    write_rows(
        path,
        [
            {
                "example_id": text.example_id,
                "prompt_ids": list(text.prompt_ids),
                "response_ids": list(text.response_ids),
                "finish_reason": text.finish_reason,
            }
            for text in texts
        ],
    )


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
    """Write what engines decoded, with the arm, block and repeat of each."""
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
    """Return what engines decoded, in the order in which it was."""
    return [
        TimedDecode(row["arm"], row["block"], row["repeat"], _decode(row))
        for row in read_rows(path)
    ]


def _decode(row: dict[str, Any]) -> Decode:
    return Decode(
        example_id=row["example_id"],
        token_ids=tuple(row["token_ids"]),
        num_prompt_tokens=row["num_prompt_tokens"],
        rounds=tuple(map(Round, row["drafted"], row["accepted"])),
        prefill_s=row["prefill_s"],
        decode_s=row["decode_s"],
        finish_reason=row["finish_reason"],
        first_token_s=row.get("first_token_s"),  # recorded from the second format on
    )


@dataclass(frozen=True)
class Answer:
    """A response of an arm of an engine run, or of a model "alone"."""

    arm: str
    example_id: str
    token_ids: Sequence[int]
    finish_reason: FinishReason


def read_answers(directory: Path) -> list[Answer]:
    """Return the answers in a folder of responses or of decodes."""
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
    """Return the file of a model's graded samples at a temperature, in a results folder."""
    return f"{who}-samples-t{temperature:g}.parquet"
