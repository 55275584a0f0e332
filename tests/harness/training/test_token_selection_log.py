"""Noted selections: which steps, which tokens, and that nothing depends on an interruption."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from draftmark.store.graph import RESULT_FILES
from draftmark.store.records import SELECTION, read_rows
from draftmark.training.batches import Batch
from draftmark.training.token_selection_log import (
    MOST_TOKENS,
    SNAPSHOTS,
    gather_selections,
    log_selection,
    publish_selections,
)


def noted(scratch: Path, steps: range, *, of: int, tokens: int = 3) -> None:
    """Note steps of a training of so many; the gap of a token is its step and a tenth."""
    for step in steps:
        rows_N, places_N = torch.arange(tokens) % 2, torch.arange(tokens)
        batch = Batch(places_N + 5, places_N, rows_N, ("a", "b"), step, step / of)
        log_selection(scratch, torch.full((tokens,), step + 0.1), (places_N == 1).float(), batch)


def rows_of(scratch: Path) -> list[dict[str, Any]]:
    gather_selections(scratch)
    return read_rows(scratch / RESULT_FILES / SELECTION)


def test_every_token_of_a_noted_step_is_there_with_its_gap(tmp_path: Path) -> None:
    noted(tmp_path, range(1), of=1)
    rows = rows_of(tmp_path)
    assert [row["example_id"] for row in rows] == ["a", "b", "a"]
    assert [row["token_id"] for row in rows] == [5, 6, 7]
    assert [row["position"] for row in rows] == [0, 1, 2]
    assert [row["kept"] for row in rows] == [False, True, False]
    assert [row["gap"] for row in rows] == pytest.approx([0.1] * 3)


@pytest.mark.parametrize(("steps", "wanted"), [(160, range(0, 160, 10)), (3, range(3))])
def test_steps_are_noted_evenly_over_the_training(
    tmp_path: Path, steps: int, wanted: range
) -> None:
    noted(tmp_path, range(steps), of=steps)
    assert sorted({row["step"] for row in rows_of(tmp_path)}) == list(wanted)
    assert len(wanted) <= SNAPSHOTS


def test_an_interruption_changes_nothing(tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    noted(straight, range(40), of=40)
    noted(resumed, range(25), of=40)
    noted(resumed, range(18, 40), of=40)  # from a checkpoint before
    assert rows_of(straight) == rows_of(resumed)


def test_of_a_large_step_tokens_are_noted_evenly(tmp_path: Path) -> None:
    noted(tmp_path, range(1), of=1, tokens=2 * MOST_TOKENS + 1)
    rows = rows_of(tmp_path)
    assert [row["position"] for row in rows[:3]] == [0, 3, 6]
    assert len(rows) <= MOST_TOKENS


def test_what_noted_nothing_leaves_nothing(tmp_path: Path) -> None:
    gather_selections(tmp_path)
    publish_selections(tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_published_tokens_are_read_with_the_drafts_tokenizer(tmp_path: Path) -> None:
    import tokenizers

    words = {"[UNK]": 0, **{f"word{number}": number for number in range(5, 7)}, "</s>": 7}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.add_special_tokens(["</s>"])
    draft, folder = tmp_path / RESULT_FILES, tmp_path / "records"
    folder.mkdir()
    noted(tmp_path, range(2), of=2)
    gather_selections(tmp_path)
    publish_selections(draft, folder)
    assert {row["token"] for row in read_rows(folder / SELECTION)} == {None}
    made.save(str(draft / "tokenizer.json"))
    publish_selections(draft, folder)
    rows = read_rows(folder / SELECTION)
    assert [(row["token"], row["special"]) for row in rows[:3]] == [
        ("word5", False),
        ("word6", False),
        ("</s>", True),
    ]
    assert pq.read_table(folder / SELECTION).num_rows == 6
