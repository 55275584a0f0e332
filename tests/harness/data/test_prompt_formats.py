"""Formats of prompts: the same questions in every format are the same examples."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.config.sections import TaskRows
from draftmark.config.validation import validate_section
from draftmark.data.own_rows import task_with_rows
from draftmark.data.prompt_formats import conversation_examples, format_of
from draftmark.data.rows import Rows, load_rows
from draftmark.errors import UserError
from draftmark.tasks import gsm8k, prompts
from draftmark.types import Example

QUESTIONS = (("What is a draft?",), ("Name a river.", "And a longer one."))
IN_COLUMNS: Mapping[str, Any] = {
    "messages": lambda turns: {"messages": _messages(turns, ("role", "content"), "user")},
    "conversations": lambda turns: {"conversations": _messages(turns, ("from", "value"), "human")},
    "turns": lambda turns: {"turns": list(turns)},
    "prompt": lambda turns: {"prompt": turns[0] if len(turns) == 1 else list(turns)},
}
questions = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    min_size=1,
    max_size=4,
)


def _messages(turns: Sequence[str], keys: tuple[str, str], asks: str) -> list[dict[str, str]]:
    who, what = keys
    messages = [{who: asks, what: turn} for turn in turns]
    # Chat logs have an answer between the questions.
    answer = {who: "assistant" if who == "role" else "gpt", what: "An answer."}
    return [item for message in messages for item in (message, answer)][:-1]


def _read(path: Path, count: int = 2, **keys: Any) -> Rows:
    rows = validate_section(TaskRows, {"file": str(path), **keys}, "a recipe", ("rows", "prompts"))
    return load_rows(task_with_rows(prompts.TASK, rows), "test", count, sources=[])


def _write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return path


def _asked(examples: Sequence[Example]) -> list[tuple[Any, ...]]:
    return [(one.id, one.messages, one.follows) for one in examples]


@given(turns=questions)
def test_every_format_asks_the_same_questions(turns: list[str]) -> None:
    found = {
        name: conversation_examples("prompts/test/0", write(turns))
        for name, write in IN_COLUMNS.items()
    }

    assert len(set(map(str, map(_asked, found.values())))) == 1
    assert [one.messages[-1]["content"] for one in found["turns"]] == turns
    assert all(format_of(IN_COLUMNS[name](turns)) == name for name in found)


def test_a_later_turn_follows_the_one_before_it() -> None:
    first, second, third = conversation_examples("prompts/test/7", {"turns": ["a", "b", "c"]})

    assert [first.id, second.id] == ["prompts/test/7/turn-1", "prompts/test/7/turn-2"]
    assert [first.follows, second.follows, third.follows] == ["", first.id, second.id]
    (only,) = conversation_examples("prompts/test/7", {"turns": ["a"]})
    assert (only.id, only.follows) == ("prompts/test/7", "")


def test_answers_are_references_and_the_system_stands_before_the_first_turn() -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Two and two?"}]},
        {"role": "assistant", "content": "Four."},
        {"role": "user", "content": "And one?"},
    ]
    first, second = conversation_examples("x", {"messages": chat, "category": " a\n b "})

    assert [turn["role"] for turn in first.messages] == ["system", "user"]
    assert [turn["role"] for turn in second.messages] == ["user"]
    assert (first.reference, second.reference, second.category) == ("Four.", "", "a b")
    (one,) = conversation_examples(
        "x", {"prompt": "Capital?", "reference": [["Oslo", "Christiania"]]}
    )
    assert one.reference == "Oslo"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "a"}, "none of the columns messages, conversations, turns, prompt"),
        ({"turns": []}, "not a list of turns"),
        ({"turns": ["a", " "]}, "has an empty turn"),
        ({"turns": ["a", 1]}, "is not a message"),
        ({"prompt": 3}, "not a list of turns: '3'"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "the role 'tool', which is none of"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "do not alternate"),
        ({"messages": [{"role": "user", "content": "a"}] * 2}, "do not alternate"),
        ({"messages": [{"role": "system", "content": "a"}]}, "has no turn of a user"),
        ({"messages": [{"role": "user", "content": [{"image": "x"}]}]}, "content is not text"),
        ({"prompt": "a", "category": True}, "the category is not text"),
        ({"prompt": "a", "reference": ["b", "c"]}, "not a text for each turn"),
    ],
)
def test_a_malformed_row_says_what_is_wrong(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        conversation_examples("x", row)


@pytest.mark.parametrize("name", IN_COLUMNS)
def test_a_file_of_each_format_is_read_and_its_format_named(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / "rows.jsonl", [IN_COLUMNS[name](turns) for turns in QUESTIONS])
    rows = _read(path)

    assert rows.source == f"rows.jsonl, format {name}"
    assert rows.num_rows == 2
    assert [one.messages[-1]["content"] for one in rows.examples] == [*chain(*QUESTIONS)]


def test_text_json_csv_and_parquet_are_read(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    asked = [{"prompt": "a", "category": "x"}, {"prompt": "b", "category": "y"}]
    (tmp_path / "rows.txt").write_text("a\n\nb\r\n", "utf-8")
    (tmp_path / "rows.json").write_text(json.dumps({"data": asked}), "utf-8")
    (tmp_path / "rows.csv").write_text("prompt,category\na,x\nb,y\n", "utf-8")
    pq.write_table(pa.Table.from_pylist(asked), tmp_path / "rows.parquet")
    found = {path.suffix: _read(path).examples for path in tmp_path.iterdir()}

    assert {tuple(one.messages[0]["content"] for one in found[kind]) for kind in found} == {
        ("a", "b")
    }
    for kind in (".json", ".csv", ".parquet"):
        assert [one.category for one in found[kind]] == ["x", "y"]
    jsonl = _write(tmp_path / "text.jsonl", ["a"])
    assert _read(jsonl, 1, format="text").examples[0].messages[0]["content"] == '"a"'


def test_columns_are_mapped_and_joined_and_a_format_is_picked(tmp_path: Path) -> None:
    row = {"instruction": "Sort.", "input": "2, 1", "kind": 3, "turns": ["other"]}
    path = _write(tmp_path / "rows.jsonl", [row])
    columns = {"prompt": ["instruction", "input"], "category": "kind"}
    (example,) = _read(path, 1, columns=columns, format="prompt").examples

    assert example.messages[0]["content"] == "Sort.\n\n2, 1"
    assert example.category == "3"
    assert _read(path, 1, columns=columns).examples[0].messages[0]["content"] == "other"
    with pytest.raises(UserError, match="line 1: no column 'question'"):
        _read(path, 1, columns={"prompt": "question"})


def test_malformed_rows_are_one_line_with_their_number(tmp_path: Path) -> None:
    path = _write(tmp_path / "rows.jsonl", [{"prompt": ""}] * 3 + [{"prompt": "a"}])
    with pytest.raises(UserError) as caught:
        _read(path, 1)

    reason = f"{path}, line 1: column 'prompt' has an empty turn (and 2 more rows); fix the rows."
    assert str(caught.value) == reason


def test_too_few_rows_and_missing_files_and_splits_are_sentences(tmp_path: Path) -> None:
    path = _write(tmp_path / "rows.jsonl", [{"turns": ["a", "b"]}])
    task = task_with_rows(prompts.TASK, TaskRows(file=str(path)))
    for call, words in (
        (lambda: _read(path, 2), "prompts has 1 rows in its test split"),
        (lambda: _read(tmp_path / "none.jsonl"), "There is no file"),
        (lambda: _read(_write(tmp_path / "rows.xyz", [])), "no suffix of a file of rows"),
        (lambda: _read(_write(tmp_path / "one.json", [{}, {}])), "is not JSON"),
        (lambda: _read(_write(tmp_path / "one.parquet", [{}])), "is unreadable parquet"),
        (lambda: _read(_write(tmp_path / "one.csv", ["a" * 200_000])), "is not CSV"),
        (lambda: load_rows(task, "train", 1, sources=[]), "prompts has no train rows"),
    ):
        with pytest.raises(UserError, match=words):
            call()


COMMIT = "0" * 40


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "exactly one of file and dataset"),
        ({"file": "a", "dataset": "b", "revision": COMMIT}, "exactly one of file and dataset"),
        ({"dataset": "a/b"}, "dataset and revision"),
        ({"dataset": "a/b", "revision": "main"}, "revision"),
        ({"dataset": "a/b", "revision": COMMIT, "format": "text"}, "reads a file, not a dataset"),
        ({"file": {}}, "file needs a path"),
        ({"file": {"dev": "a"}}, "rows.prompts.file"),
        ({"file": "a", "colums": {}}, "Did you mean 'rows.prompts.columns'"),
    ],
)
def test_faulty_sections_of_rows_are_sentences(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        validate_section(TaskRows, keys, "a recipe", ("rows", "prompts"))


def test_a_format_is_only_for_tasks_that_read_several() -> None:
    with pytest.raises(UserError, match="rows of gsm8k have one format"):
        task_with_rows(gsm8k.TASK, TaskRows(file="a.jsonl", format="turns"))
