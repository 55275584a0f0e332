"""Tests that the written splits are reproducible, have no repeats, and suit their tasks."""

import gzip
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.tasks.samples import generate
from draftmark.tasks.samples.build_target import TASKS
from draftmark.tasks.samples.generate import SOURCES, generate_unseen_rows, read_split

COLUMNS = {
    "gsm8k": {"question", "answer"},
    "alpaca": {"instruction", "input", "output"},
    "mbpp": {
        *("task_id", "text", "code", "test_list", "test_setup_code", "challenge_test_list"),
    },
    "cnn_dm": {"article", "highlights", "id"},
    "xsum": {"document", "summary", "id"},
}
SPLITS = [(task, split) for task, source in SOURCES.items() for split in source.sizes]


def rows_of(task: str) -> list[dict[str, Any]]:
    return [row for split in SOURCES[task].sizes for row in read_split(task, split)]


@pytest.mark.parametrize("task", SOURCES)
def test_written_splits_regenerate_byte_identically(task: str) -> None:
    written = {
        split: gzip.decompress(generate.split_path(task, split).read_bytes())
        for split in SOURCES[task].sizes
    }
    assert written == {
        split: generate.encode_rows(rows) for split, rows in generate.generate_splits(task).items()
    }


@pytest.mark.parametrize(("task", "split"), SPLITS)
def test_written_gzip_holds_neither_time_nor_name(task: str, split: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.gz"
    generate.write_rows(path, read_split(task, split))
    flags, time = path.read_bytes()[3], path.read_bytes()[4:8]
    assert (flags, time) == (0, bytes(4))


@pytest.mark.parametrize("task", SOURCES)
def test_splits_share_no_question_and_hold_none_twice(task: str) -> None:
    questions = [SOURCES[task].question_of(row) for row in rows_of(task)]
    assert len(set(questions)) == len(questions) == sum(SOURCES[task].sizes.values())


@pytest.mark.parametrize("task", SOURCES)
def test_no_two_prompts_are_the_same(task: str) -> None:
    examples = [TASKS[task].to_example("row", row) for row in rows_of(task)]
    prompts = {example.messages[-1]["content"] for example in examples}
    assert len(prompts) == len(examples)


@pytest.mark.parametrize("task", SOURCES)
def test_rows_have_the_published_columns_only(task: str) -> None:
    assert all(set(row) == COLUMNS[task] for row in rows_of(task))


@pytest.mark.parametrize("task", SOURCES)
def test_identifiers_differ(task: str) -> None:
    named = COLUMNS[task] & {"id", "task_id"}
    for column in named:
        assert len({row[column] for row in rows_of(task)}) == len(rows_of(task))


@pytest.mark.parametrize("task", SOURCES)
def test_the_task_leaves_no_row_out(task: str) -> None:
    assert [row for row in rows_of(task) if TASKS[task].left_out(row)] == []


@pytest.mark.parametrize("task", SOURCES)
@settings(max_examples=10)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_a_seed_always_gives_the_same_rows(task: str, seed: int) -> None:
    first, again = (list(islice(SOURCES[task].generate_rows(seed), 5)) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("task", SOURCES)
def test_unseen_rows_hold_no_held_out_question(task: str) -> None:
    source = SOURCES[task]
    # The seed of the splits would give their questions again.
    rows = generate_unseen_rows(task, num=50, seed=source.seed)
    held_out = [*read_split(task, "validation"), *read_split(task, "test")]
    asked = {source.question_of(row) for row in rows}
    assert asked.isdisjoint(source.question_of(row) for row in held_out)


def test_answers_differ_enough_to_tell_drafts_apart() -> None:
    """A draft that memorized a few answers must not look good."""
    for task in SOURCES:
        answers = [TASKS[task].to_example("row", row).reference for row in rows_of(task)]
        assert len(set(answers)) > len(answers) / 2, task
        assert median(map(len, answers)) > 40, task
