"""Rows: which source they come from, and what a bad one gets."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.data.rows import Rows, describe_left_out, load_rows
from draftmark.data.sources import DATA_VARIABLE
from draftmark.errors import UserError
from draftmark.types import Example, HubData, Row, Task

Lines = Sequence[Mapping[str, Any] | str]
Write = Callable[..., Path]
ROW = {"question": "What is 1 + 1?", "answer": "#### 2"}


@pytest.fixture(autouse=True)
def _no_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return _task(tmp_path / "samples")


def _task(samples: Path) -> Task:
    return Task(
        name="toy",
        version=1,
        hub=HubData("org/toy", "{split}.parquet", "0123456789abcdef", {"train": "train[:-1]"}),
        samples=samples,
        columns=("question", "answer"),
        to_example=_to_example,
        grade=lambda example, text: {"same": float(text == example.reference)},
        headline="same",
        max_new_tokens=8,
    )


def _to_example(example_id: str, row: Row) -> Example:
    if "####" not in row["answer"]:
        raise ValueError("the answer has no number")
    return Example(example_id, ({"role": "user", "content": row["question"]},), row["answer"])


def _write(folder: Path, rows: Lines, name: str = "train.jsonl.gz") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    data = text.encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder / name


def _samples(task: Task, count: int = 1) -> Rows:
    return load_rows(task, "train", count, sources=["samples"])


@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl.gz"])
def test_rows_are_read_plain_and_packed(task: Task, name: str) -> None:
    _write(task.samples, [ROW, "", {**ROW, "question": "Again?"}], name)

    rows = _samples(task, 2)

    assert [example.id for example in rows.examples] == ["toy/train/0", "toy/train/1"]
    assert [example.messages[0]["content"] for example in rows.examples] == [
        "What is 1 + 1?",
        "Again?",
    ]


def test_only_the_first_rows_asked_for_are_taken(task: Task) -> None:
    _write(task.samples, [{**ROW, "question": str(n)} for n in range(5)])

    assert [example.messages[0]["content"] for example in _samples(task, 2).examples] == ["0", "1"]


def test_lines_may_end_as_windows_ends_them(task: Task) -> None:
    _write(task.samples, [json.dumps(ROW) + "\r", "\r"])

    assert len(_samples(task).examples) == 1


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"question": "Why?"}', "no text in column 'answer'"),
        ('{"question": 3, "answer": "#### 2"}', "no text in column 'question'"),
        ('{"question": null, "answer": "#### 2"}', "no text in column 'question'"),
        ('{"question": " ", "answer": "#### 2"}', "column 'question' is empty"),
        ('{"question": "Why?", "answer": "two"}', "the answer has no number"),
        ('{"question": "Why?", ', "not JSON"),
        ('["Why?", "#### 2"]', "not a JSON object"),
        ("3", "not a JSON object"),
        ("\ufeff{", "not JSON"),
    ],
)
@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl.gz"])
def test_a_bad_row_is_named_by_file_and_line(
    task: Task, name: str, line: str, sentence: str
) -> None:
    path = _write(task.samples, [ROW, "", line, ROW], name)

    with pytest.raises(UserError) as caught:
        _samples(task, 3)

    assert str(caught.value).startswith(f"{path}, line 3: {sentence}")
    assert str(caught.value).endswith("; fix the row.")


@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl.gz"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_rows_with_a_byte_order_mark_are_read(task: Task, name: str, encoding: str) -> None:
    text = f"{json.dumps(ROW)}\n{json.dumps(ROW, ensure_ascii=False)}\n"
    data = text.encode(encoding)
    task.samples.mkdir(exist_ok=True)
    (task.samples / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)

    assert len(_samples(task, 2).examples) == 2


def test_files_that_were_joined_have_marks_within(task: Task) -> None:
    marked = {f"\ufeff{name}": f"\ufeff{value}" for name, value in ROW.items()}
    _write(task.samples, [ROW, f"\ufeff{json.dumps(ROW)}", json.dumps(marked)])

    first, second, third = _samples(task, 3).examples
    assert first.messages == second.messages == third.messages


def test_text_that_cannot_be_written_as_utf8_is_a_bad_row(task: Task) -> None:
    path = _write(task.samples, ['{"question": "\\ud800", "answer": "#### 2"}'])

    with pytest.raises(UserError, match=f"{path}, line 1"):
        _samples(task)


def test_json_nested_too_deep_is_a_bad_row(task: Task) -> None:
    path = _write(task.samples, ["[" * 100_000])

    with pytest.raises(UserError, match=f"{path}, line 1"):
        _samples(task)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-12],
        lambda data: b"not gzip",
        lambda data: data[:12] + bytes(byte ^ 0xFF for byte in data[12:30]) + data[30:],
        lambda data: gzip.compress(b"\xff\xfe"),
    ],
    ids=["cut short", "not gzip", "bytes changed", "not UTF-8"],
)
def test_a_damaged_file_is_named(task: Task, damage: Callable[[bytes], bytes]) -> None:
    path = _write(task.samples, [{**ROW, "question": f"{n} + {n}?"} for n in range(20)])
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(UserError, match=f"{path} is unreadable"):
        _samples(task)


def test_too_few_rows_says_how_many_there_are_and_which_setting_to_lower(task: Task) -> None:
    _write(task.samples, [ROW])

    with pytest.raises(UserError, match=r"has 1 rows .* but 2 are needed; lower data\.train_rows"):
        _samples(task, 2)


def _without_nothing(task: Task) -> Task:
    """A task that leaves out rows without an answer."""
    return replace(task, left_out=lambda row: None if row["answer"].strip() else "no answer")


def test_rows_left_out_by_rule_are_passed_over_and_counted_and_ids_stay(task: Task) -> None:
    _write(task.samples, [ROW, {**ROW, "answer": " "}, ROW, {**ROW, "answer": ""}, ROW])

    rows = _samples(_without_nothing(task), 2)

    assert [example.id for example in rows.examples] == ["toy/train/0", "toy/train/2"]
    assert rows.left_out == {"no answer": 1}
    assert describe_left_out(rows.left_out) == "1 left out (1 no answer)"


def test_rows_left_out_by_rule_do_not_count_as_rows(task: Task) -> None:
    _write(task.samples, [ROW, {**ROW, "answer": ""}])

    with pytest.raises(UserError, match=r"has 1 rows .*1 left out \(1 no answer\)\), but 2"):
        _samples(_without_nothing(task), 2)


def test_a_rule_is_asked_only_of_rows_that_have_the_columns(task: Task) -> None:
    path = _write(task.samples, [{"question": "Why?"}])

    with pytest.raises(UserError, match=f"{path}, line 1: no text in column 'answer'"):
        _samples(_without_nothing(task))


def test_what_comes_after_the_rows_asked_for_is_not_judged(task: Task) -> None:
    _write(task.samples, [ROW, "{", {**ROW, "answer": ""}])

    assert len(_samples(task).examples) == 1


def test_a_task_may_have_a_folder_of_another_name_in_a_data_directory(
    task: Task, tmp_path: Path
) -> None:
    named = replace(task, folder="playthings")
    _write(tmp_path / "data" / "playthings", [ROW])

    rows = load_rows(named, "train", 1, sources=["directory"], directory=tmp_path / "data")

    assert rows.examples[0].id == "toy/train/0"
    with pytest.raises(UserError, match=r"folder with playthings/train\.jsonl\.gz"):
        load_rows(named, "train", 1, sources=["directory"])
    with pytest.raises(UserError) as caught:
        load_rows(named, "train", 1, sources=["samples"])
    assert "--data" not in str(caught.value)


def test_a_file_without_rows_is_too_few(task: Task) -> None:
    _write(task.samples, [])

    with pytest.raises(UserError, match="has 0 rows"):
        _samples(task)


def test_where_no_source_has_the_rows_every_one_says_why(task: Task, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_rows(
            task, "train", 1, sources=["hub", "directory", "samples"], directory=tmp_path / "data"
        )

    message = str(caught.value)
    assert "hub: org/toy@0123456 is not in the cache" in message
    assert (
        f"directory: no train.jsonl.gz and no train.jsonl in {tmp_path / 'data' / 'toy'}" in message
    )
    assert f"samples: no train.jsonl.gz and no train.jsonl in {task.samples}" in message
    assert f"Set --data or {DATA_VARIABLE} to a folder with toy/train.jsonl.gz" in message


def test_without_a_data_directory_the_variable_is_named(task: Task) -> None:
    with pytest.raises(UserError, match=f"directory: {DATA_VARIABLE} is not set"):
        load_rows(task, "train", 1, sources=["directory"])


def test_the_data_directory_may_come_from_the_environment(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "data" / "toy", [ROW])
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))

    assert load_rows(task, "train", 1, sources=["directory"]).source == "directory"


@pytest.mark.parametrize(
    ("sources", "taken"),
    [
        (["hub", "directory", "samples"], "directory"),
        (["samples", "directory"], "samples"),
        (["hub", "samples", "directory"], "samples"),
    ],
)
def test_the_first_source_that_has_the_rows_is_taken_and_named(
    task: Task, tmp_path: Path, sources: list[str], taken: str
) -> None:
    for name, folder in {"samples": task.samples, "directory": tmp_path / "data" / "toy"}.items():
        _write(folder, [{**ROW, "question": name}])

    rows = load_rows(task, "train", 1, sources=sources, directory=tmp_path / "data")

    assert rows.source == rows.examples[0].messages[0]["content"] == taken
    before = sources[: sources.index(taken)]
    assert [reason.partition(":")[0] for reason in rows.passed_over] == before


def test_a_source_that_is_there_but_bad_is_not_passed_over(task: Task, tmp_path: Path) -> None:
    _write(task.samples, [ROW])
    _write(tmp_path / "data" / "toy", ["{"])

    with pytest.raises(UserError, match="not JSON"):
        load_rows(task, "train", 1, sources=["directory", "samples"], directory=tmp_path / "data")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_the_same_rows_have_the_same_digest_whichever_source_gave_them(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    task = _task(folder / "samples")
    lines = [{"question": question, "answer": f"{answer} ####"} for question, answer in rows]
    _write(task.samples, lines)
    _write(folder / "toy", lines, "train.jsonl")

    packed, plain = (
        load_rows(task, "train", len(rows), sources=[source], directory=folder)
        for source in ("samples", "directory")
    )

    assert packed.examples == plain.examples
    assert packed.digest == plain.digest


@pytest.mark.parametrize("column", ["question", "answer"])
def test_another_row_has_another_digest(task: Task, column: str) -> None:
    _write(task.samples, [ROW])
    before = _samples(task).digest
    _write(task.samples, [{**ROW, column: ROW[column] + " "}])

    assert _samples(task).digest != before
