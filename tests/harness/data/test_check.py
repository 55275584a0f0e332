"""The check of a data set: every malformed row is named, and the counts add up."""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from draftmark.data.check import TaskCheck, check_task, check_tasks, count_repeated
from draftmark.data.sources import DATA_VARIABLE
from draftmark.errors import UserError
from draftmark.registry import find_registered
from draftmark.types import Split, Task

Lines = Sequence[Mapping[str, Any] | str]


@pytest.fixture(autouse=True)
def _no_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


def _row(question: str, answer: str = "#### 2") -> dict[str, str]:
    return {"question": question, "answer": answer}


def _write(folder: Path, splits: Mapping[Split, Lines]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
        (folder / f"{split}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return folder.parent


def _checked(directory: Path, task: Task | None = None) -> TaskCheck:
    return check_task(
        task or find_registered("tasks", "gsm8k"), sources=["directory"], directory=directory
    )


def test_every_malformed_row_is_named_by_file_and_line(tmp_path: Path) -> None:
    train = [_row("a"), "{", _row("b"), "", _row("c", "none"), {"question": "d"}]
    _write(tmp_path / "gsm8k", {"train": train, "validation": [_row("e")], "test": [_row("", "")]})

    found = _checked(tmp_path)

    path = tmp_path / "gsm8k" / "train.jsonl.gz"
    places = [fault.partition(": ")[0] for fault in found.splits["train"].malformed]
    assert places == [f"{path}, line {number}" for number in (2, 5, 6)]
    assert found.malformed == 4
    lines = list(found.lines())
    assert f"  {path}, line 6: no text in column 'answer'; fix the row." in lines
    assert any("line 1: column 'question' is empty; fix the row." in line for line in lines)


def test_the_counts_of_a_split_add_up(tmp_path: Path) -> None:
    task = replace(
        find_registered("tasks", "gsm8k"),
        left_out=lambda row: "dull question" if row["question"] == "dull" else None,
    )
    train = [_row("a"), _row("dull"), _row(" a "), _row("b"), "3", _row("dull", "")]
    _write(tmp_path / "gsm8k", {"train": train, "validation": [_row("c")], "test": [_row("d")]})

    split = _checked(tmp_path, task).splits["train"]

    assert (split.num_read, len(split.examples), count_repeated(split.examples)) == (6, 3, 1)
    assert split.left_out == {"dull question": 2}
    assert len(split.malformed) == 1


def test_questions_that_two_splits_share_are_counted(tmp_path: Path) -> None:
    rows: dict[Split, Lines] = {
        "train": [_row("a"), _row("b")],
        "validation": [_row("a"), _row("c")],
        "test": [_row("b"), _row("a  "), _row("a"), _row("d")],
    }
    _write(tmp_path / "gsm8k", rows)

    found = _checked(tmp_path)

    assert {pair: item.duplicates for pair, item in found.shared.items()} == {
        ("train", "validation"): 1,
        ("train", "test"): 3,
        ("validation", "test"): 2,
    }
    assert (
        "gsm8k    test: of 4 questions, train has 3, and 3 if mostly copied ones count"
        in found.lines()
    )


def test_without_names_every_task_that_has_rows_there_is_checked(tmp_path: Path) -> None:
    article = {"article": "A storm.", "highlights": "Rain."}
    for folder, row in {"gsm8k": _row("a"), "cnn_dailymail": article}.items():
        _write(tmp_path / folder, {"train": [row], "validation": [row], "test": [row]})

    assert [found.name for found in check_tasks(None, tmp_path)] == ["cnn_dm", "gsm8k"]
    assert [found.name for found in check_tasks(["cnn_dm"], tmp_path)] == ["cnn_dm"]


def test_without_a_data_directory_the_projects_own_samples_are_checked() -> None:
    (found,) = check_tasks(["gsm8k"], None)

    assert {split.source for split in found.splits.values()} == {"samples"}
    assert found.malformed == 0
    assert not any(item.duplicates for item in found.shared.values())


def test_a_task_that_is_named_and_has_no_rows_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No source has the train, validation, test rows of 'xsum'"):
        list(check_tasks(["xsum"], tmp_path))
    with pytest.raises(UserError, match=f"{tmp_path} has no rows of any task"):
        list(check_tasks(None, tmp_path))


def test_a_source_that_is_none_is_named() -> None:
    with pytest.raises(UserError, match=r"Unknown source 'web'\. Known: directory, hub, samples"):
        list(check_tasks(["gsm8k"], None, source="web"))
    (found,) = check_tasks(["gsm8k"], None, source="samples")
    assert found.splits["test"].source == "samples"


def test_what_is_wrong_with_a_file_is_one_sentence(tmp_path: Path) -> None:
    folder = _write(tmp_path / "gsm8k", {"train": [], "validation": [], "test": []})
    (folder / "gsm8k" / "train.jsonl.gz").write_bytes(b"not gzip")

    with pytest.raises(UserError, match="is unreadable"):
        list(check_tasks(None, tmp_path))
