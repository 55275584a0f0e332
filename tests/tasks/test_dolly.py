"""Dolly: how a row becomes a prompt, MiniLLM's style, which rows are left out, what is graded."""

from typing import Any

import pytest
from rouge_score.rouge_scorer import RougeScorer

from draftmark.data.check import check_task
from draftmark.data.hub_rows import parse_slice
from draftmark.data.prompts import to_plain_text
from draftmark.tasks.dolly import MAX_ANSWER, MAX_PROMPT, TASK, as_minillm, left_out, to_example


def _row(context: str = "", response: str = "At 7:40.", **more: Any) -> dict[str, Any]:
    row = {"instruction": "When does the ferry leave?", "context": context, "response": response}
    return {**row, "category": "closed_qa", **more}


def test_a_row_becomes_one_turn_with_its_category() -> None:
    example = to_example("dolly/test/3", _row("It leaves at 7:40."))

    assert example.messages == (
        {"role": "user", "content": "When does the ferry leave?\n\nIt leaves at 7:40."},
    )
    assert (example.id, example.reference, example.category) == (
        "dolly/test/3",
        "At 7:40.",
        "closed_qa",
    )


@pytest.mark.parametrize("context", ["", " \n"])
def test_a_row_without_a_context_asks_the_instruction_alone(context: str) -> None:
    example = to_example("x", _row(context))

    assert example.messages[0]["content"] == "When does the ferry leave?"
    assert "### Input" not in as_minillm(example).messages[0]["content"]


def test_the_style_is_the_published_prompt_to_the_character() -> None:
    """The templates of `minillm/tools/process_data_dolly.py`, filled in by hand."""
    plain = to_plain_text(as_minillm(to_example("x", _row())).messages)
    paired = to_plain_text(as_minillm(to_example("x", _row("It leaves at 7:40."))).messages)

    assert plain == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nWhen does the ferry leave?\n\n### Response:\n"
    )
    assert paired == (
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
        "When does the ferry leave?\n\n### Input:\nIt leaves at 7:40.\n\n### Response:\n"
    )


@pytest.mark.parametrize("change", [{"context": None}, {"category": ["a"]}])
def test_a_row_whose_context_or_category_is_no_text_is_malformed(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no text in column 'context'|category is not text"):
        to_example("x", _row() | change)


def test_long_rows_and_answers_that_rouge_cannot_read_are_left_out() -> None:
    longest = MAX_PROMPT - len("When does the ferry leave?\n\n")

    assert left_out(_row("a" * longest)) is None
    assert left_out(_row("a" * (longest + 1))) == "prompt of more than 1000 characters"
    assert left_out(_row(response="a" * MAX_ANSWER)) is None
    long = _row(response="a" * (MAX_ANSWER + 1))
    assert left_out(long) == "response of more than 2000 characters"
    assert left_out(_row(response="...")) == "response that ROUGE cannot read"


def test_the_grade_is_minillms_rouge_l() -> None:
    """Super-NaturalInstructions' scorer, which MiniLLM's code uses: stemmed ROUGE-L."""
    gold, text = "The ferries leave at 7:40 in the morning.", "The ferry is leaving in the morning."
    example = to_example("x", _row(response=gold))
    expected = RougeScorer(["rougeL"], use_stemmer=True).score(gold, text)["rougeL"].fmeasure

    assert TASK.grade is not None
    assert TASK.grade(example, text)[TASK.headline] == expected
    assert 0 < expected < 1
    assert TASK.grade(example, gold)[TASK.headline] == 1


def test_the_slices_are_disjoint_and_hold_what_the_published_code_takes() -> None:
    assert TASK.hub is not None
    rows = range(15_011)
    sizes = {split: rows[parse_slice(text)[1]] for split, text in TASK.hub.splits.items()}

    assert sorted(row for part in sizes.values() for row in part) == list(rows)
    assert len(sizes["validation"]) > 1000
    assert len(sizes["test"]) > 500
    assert len(sizes["train"]) > 12_500


def test_the_samples_are_whole_and_cover_the_categories() -> None:
    found = check_task(TASK, sources=["samples"]).splits
    examples = [example for split in found.values() for example in split.examples]

    assert {split: rows.num_rows for split, rows in found.items()} == {
        "train": 12,
        "validation": 4,
        "test": 8,
    }
    assert not any(rows.malformed or rows.left_out for rows in found.values())
    assert len({example.messages[0]["content"] for example in examples}) == 24
    assert len({example.category for example in found["test"].examples}) == 8
