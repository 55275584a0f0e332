"""GSM8K's grading, against the published extraction."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.tasks.gsm8k import (
    TASK,
    as_adaspec,
    extract_answer,
    extract_last_number,
    grade,
    to_example,
)


def _row(answer: str) -> dict[str, str]:
    return {"question": "How many?", "answer": answer}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("So it is 3.\n#### 3", "3"),
        ("#### -5", "-5"),
        ("#### 1,234,567", "1234567"),
        ("#### 0.50", "0.50"),
        ("#### 18\nOr rather\n#### 19", "18"),
        ("#### 18 dollars", "18"),
        # The published expression takes the full stop as part of the number.
        ("#### 18.", "18."),
        ("#### 12,", "12"),
        ("##### 7", "7"),
    ],
)
def test_the_number_is_extracted_as_published(text: str, number: str) -> None:
    assert extract_answer(text) == number


@pytest.mark.parametrize(
    "text", ["", "18", "####18", "####  18", "#### $18", "#### eighteen", "####\n18", "#### - 5"]
)
def test_what_the_published_expression_does_not_match_is_no_answer(text: str) -> None:
    assert extract_answer(text) is None


def test_a_row_becomes_an_example() -> None:
    example = to_example("gsm8k/test/17", _row("It is 1,000.\n#### 1,000"))

    assert example.id == "gsm8k/test/17"
    assert example.messages == ({"role": "user", "content": "How many?"},)
    assert example.reference == "It is 1,000.\n#### 1,000"
    assert example.meta == {"final": "1000"}


def test_a_row_without_a_final_number_is_malformed() -> None:
    with pytest.raises(ValueError, match=r"no '#### <number>': 'about three'"):
        to_example("gsm8k/test/0", _row("about three"))


@pytest.mark.parametrize(
    ("text", "exact", "flexible", "answered"),
    [
        ("#### 1000", 1, 1, 1),
        ("Let me see. #### 1,000", 1, 1, 1),
        ("#### 1000.", 0, 1, 1),
        ("#### 1000.0", 0, 0, 1),
        ("#### 999\n#### 1000", 0, 1, 1),
        ("#### 1000\n#### 999", 1, 0, 1),
        ("#### 1000 in 3 days", 1, 0, 1),
        ("#### -1000", 0, 0, 1),
        ("1000", 0, 1, 0),
        ("It is 1,000.", 0, 1, 0),
        ("It is $1,000 in all.", 0, 1, 0),
        ("It costs 1000 dollars", 0, 1, 0),
        ("1000eggs", 0, 1, 0),
        ("first 12, then 1000", 0, 1, 0),
        ("1000, not 12", 0, 0, 0),
        ("1000 ...", 0, 0, 0),
        ("1000%", 0, 1, 0),
        ("1 000", 0, 0, 0),
        ("one thousand", 0, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_only_the_same_number_is_right(text: str, exact: int, flexible: int, answered: int) -> None:
    example = to_example("gsm8k/test/0", _row("It is 10*100=<<10*100=1000>>1,000\n#### 1,000"))

    assert grade(example, text) == {
        "exact_match": exact,
        "flexible_match": flexible,
        "answered": answered,
    }


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", "7"),
        ("-7", "-7"),
        ("3 - 7", "7"),
        ("10-7", "-7"),
        ("It is 7.", "7"),
        ("0.50", "0.50"),
        ("$1,234.50.", "1234.50"),
        ("-$5", "-5"),
        ("between 3 and 4", "4"),
        ("5 km/h", "5"),
        ("2/3", "3"),
        ("12:30", "30"),
        ("6, ", "6"),
        ("well ...", ".."),
        ("$$", ""),
        ("none", None),
        ("-", None),
    ],
)
def test_the_last_number_is_extracted_as_lm_evaluation_harness_does(
    text: str, number: str | None
) -> None:
    """Expectations are of its own filter and comparison at 4e7e0d4, run on these texts."""
    assert extract_last_number(text) == number


@settings(max_examples=50, deadline=None)
@given(st.integers(), st.text().filter(lambda text: "####" not in text))
def test_a_number_is_right_with_and_without_thousands_separators(number: int, before: str) -> None:
    example = to_example("gsm8k/test/0", _row(f"#### {number}"))

    assert grade(example, f"{before}\n#### {number:,}")["exact_match"] == 1
    assert grade(example, f"{before}\n#### {number:,}")["flexible_match"] == 1
    assert grade(example, f"{before}\n#### {number + 1}")["exact_match"] == 0


def test_the_gold_answer_is_right() -> None:
    example = to_example("gsm8k/test/0", _row("2+3=<<2+3=5>>5\n#### 5"))

    assert TASK.grade(example, example.reference)[TASK.headline] == 1


def test_validation_rows_are_held_out_of_the_training_rows() -> None:
    assert TASK.hub.splits == {
        "train": "train[:-300]",
        "validation": "train[-300:]",
        "test": "test",
    }
    assert len(TASK.hub.revision) == 40


def test_adaspecs_marker_stands_for_the_published_one_with_any_space_after_it() -> None:
    example = as_adaspec(to_example("gsm8k/test/0", _row("It is 1,000.\n#### 1,000")))
    assert example.reference == "It is 1,000.\nThe final answer is:  1,000"
    for text in (
        "The final answer is: 1000",
        "The final answer is:1,000",
        "The final answer is:  1000",
    ):
        assert grade(example, text) == {"exact_match": 1, "flexible_match": 1, "answered": 1}
    assert grade(example, "The answer is 1000")["exact_match"] == 0


def test_answers_are_right_or_wrong_so_there_is_pass_at_k() -> None:
    assert TASK.pass_or_fail
