"""What is graded comes after the thinking, in the marks of every template."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.grading.thinking import _MARKS, after_thinking, decode_answer, opens_thinking
from draftmark.registry import find_registered
from draftmark.types import Example

HARMONY = "<|channel|>analysis<|message|>2 + 2<|end|><|start|>assistant"


@pytest.mark.parametrize(("opening", "closing"), _MARKS)
def test_each_pair_of_marks_is_known(opening: str, closing: str) -> None:
    assert after_thinking(f"{opening}\nIs it 3?\n{closing}\n\n4") == "\n\n4"
    assert after_thinking(f"Is it 3?\n{closing}\n\n4", opened=True) == "\n\n4"
    assert after_thinking(f"{opening}\nIs it 3?") == ""
    assert opens_thinking(f"<|assistant|>\n{opening}\n")
    assert not opens_thinking(f"<|assistant|>\n{opening}\n\n{closing}\n\n")


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("no thinking", "no thinking"),
        ("", ""),
        ("<think>a</think>b<think>c</think>d", "d"),
        ("<think>a</think>\n<think>c", ""),  # it began to think again
        ("<THINK>a</Think>b", "b"),
        ("text = '<think>'", "text = '<think>'"),
        ("text.split('</think>')", "text.split('</think>')"),
        (f"{HARMONY}<|channel|>final<|message|>4<|return|>", "4<|return|>"),
        (f"{HARMONY}<|channel|>final <|constrain|>json<|message|>4", "4"),
        (HARMONY, ""),
        ("<|channel|>final<|message|>4", "4"),
        ("<|channel|>analysis<|message|>2 + ", ""),
    ],
)
def test_the_answer_follows_the_last_thinking(response: str, answer: str) -> None:
    assert after_thinking(response) == answer


def test_thinking_that_the_prompt_opened_and_nothing_closes_is_no_answer() -> None:
    assert after_thinking("Is it 3? Is it", opened=True) == ""
    assert after_thinking("It is 4.", opened=False) == "It is 4."


@given(st.text())
def test_an_answer_has_no_thinking_of_its_own(response: str) -> None:
    assert after_thinking(after_thinking(response)) == after_thinking(response)


def test_special_tokens_may_be_marks_and_are_in_no_answer() -> None:
    words = ["[THINK]", " a", "[/THINK]", " b", " c", "</s>"]
    special = {"[THINK]", "[/THINK]", "</s>"}

    def decode(ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        shown = [words[index] for index in ids]
        return "".join(one for one in shown if not skip_special_tokens or one not in special)

    assert decode_answer(decode, [0, 1, 2, 3, 4, 5]) == " b c"
    assert decode_answer(decode, [0, 1, 3, 4]) == ""
    assert decode_answer(decode, [3, 4, 5]) == " b c"
    assert decode_answer(decode, [1, 2, 3, 5], opened=True) == " b"
    assert decode_answer(decode, [2, 3, 5]) == " b"
    assert decode_answer(decode, [1, 3], opened=True) == ""


def test_every_task_grades_what_follows_the_thinking() -> None:
    sum_ = Example("x", ({"role": "user", "content": "2 + 2"},), "#### 4", {"final": "4"})
    summary = Example("y", (), "the sum is four")
    graded = find_registered("tasks", "gsm8k").grade(sum_, "<think>\n#### 3\n</think>\n#### 4")
    assert graded == {"exact_match": 1, "flexible_match": 1, "answered": 1}
    thought_only = find_registered("tasks", "gsm8k").grade(sum_, "<think>\n#### 4")
    assert thought_only == {"exact_match": 0, "flexible_match": 0, "answered": 0}
    for name in ("alpaca", "xsum", "cnn_dm"):
        grade = find_registered("tasks", name).grade
        assert grade(summary, "<think>\nfive or six\n</think>\nthe sum is four")["rougeL"] == 1
