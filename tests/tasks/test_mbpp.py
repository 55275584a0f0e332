"""MBPP's grading: the program that is found in a response, how it ends, and pass@k."""

from typing import Any

import pytest

from draftmark.errors import UserError
from draftmark.grading.isolation import bubblewrap
from draftmark.grading.sandbox import STATUSES, Sandbox
from draftmark.tasks._program_grades import grade_one
from draftmark.tasks._programs import RULES
from draftmark.tasks.mbpp import TASK, extract_program, grade_programs, to_example

REASON = bubblewrap.why_unavailable()
isolated = pytest.mark.skipif(REASON is not None, reason=f"no isolation: {REASON}")
RIGHT = "def add(a, b):\n    return a + b"


def _row(**changes: Any) -> dict[str, Any]:
    row = {
        "task_id": 11,
        "text": "Write a function to add. ",
        "code": "def add(a, b): \r\n\treturn a + b",
        "test_list": ["assert add(1, 2) == 3", "assert add(*pair) == 5"],
        "test_setup_code": "pair = \\\r\n  (2, 3)",
        "challenge_test_list": ["assert add('a', 'b') == 'abc'"],
    }
    return row | changes


def test_a_row_becomes_an_example() -> None:
    example = to_example("mbpp/test/0", _row())

    assert example.messages == (
        {
            "role": "user",
            "content": "You are an expert Python programmer, and here is your task: Write a "
            "function to add. Your code should pass these tests:\n\nassert add(1, 2) == 3\n"
            "assert add(*pair) == 5",
        },
    )
    assert example.reference == "def add(a, b): \n\treturn a + b"
    assert example.meta == {
        "checks": "pair = \\\n  (2, 3)\nassert add(1, 2) == 3\nassert add(*pair) == 5",
        "question": "Write a function to add.",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_list": []}, r"test_list is not a list of tests: '\[\]'"),
        ({"test_list": "assert add(1, 2) == 3"}, "test_list is not a list of tests: 'assert"),
        ({"test_list": [1]}, r"test_list is not a list of tests: '\[1\]'"),
        ({"test_list": ["assert True", 1]}, "test_list is not a list of tests"),
        ({"test_setup_code": 3}, "test_setup_code is not text: '3'"),
    ],
)
def test_a_row_without_tests_is_malformed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_example("mbpp/test/0", _row(**changes))


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("x = 1", "x = 1"),
        ("x = 1\n[DONE]\nx = 2", "x = 1\n"),
        ("Sure! [BEGIN]\nx = 1\n[DONE] That is it.", "\nx = 1\n"),
        ("[BEGIN]\nx = 1", "\nx = 1"),
        ("Here:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```py\nx = 1\n```\nUsage:\n```py\nx = 2\n```", "x = 1\n"),
        ("[BEGIN]\n```python\nx = 1\n```\n[DONE]", "x = 1\n"),
        ("```python\nx = 1\nwhile x", "x = 1\nwhile x"),  # cut at the length limit
        ("```python\ny = '```'\n```", "y = '```'\n"),
        ("```\n```", ""),
        ("", ""),
    ],
)
def test_the_program_is_found_in_a_response(text: str, program: str) -> None:
    assert extract_program(text) == program


@isolated
@pytest.mark.parametrize(
    ("text", "ending"),
    [
        (RIGHT, "pass@1"),
        (f"Of course:\n```python\n{RIGHT}\n```\nIt adds.", "pass@1"),
        (f"[BEGIN]\n{RIGHT}\n[DONE]", "pass@1"),
        ("def add(a, b):\n    return a - b", "assertion"),
        ("To add, return a + b.", "syntax"),
        ("", "error"),
        ("raise SystemExit(0)", "error"),
        ("held = bytearray(2**34)", "memory"),
        ("while True: print('x' * 1000)", "output"),
    ],
)
def test_each_response_has_one_ending(text: str, ending: str) -> None:
    scores = grade_one(grade_programs)(to_example("mbpp/test/0", _row()), text)

    assert scores.pop("isolated") == 1
    assert sum(scores.pop(rule) for rule in RULES if rule != "with_helpers") == 1
    assert scores.pop("with_helpers") == 0
    assert set(scores) == {"pass@1", *STATUSES} - {"passed"}
    assert {name for name, score in scores.items() if score} == {ending}
    assert sum(scores.values()) == 1


@isolated
def test_the_reference_is_right_and_the_setup_runs_between_program_and_tests() -> None:
    row = _row(test_setup_code="pair = (2, add(1, 2))")
    example = to_example("mbpp/test/0", row)

    assert TASK.grade(example, example.reference)[TASK.headline] == 1


@isolated
def test_many_responses_get_the_scores_of_each() -> None:
    example = to_example("mbpp/test/0", _row())
    answers = [(example, RIGHT), (example, "def add(a, b): return 0"), (example, "(")]

    assert grade_programs(answers, Sandbox()) == [
        grade_one(grade_programs)(*answer) for answer in answers
    ]


def test_an_unsafe_sandbox_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    answers = [(to_example("mbpp/test/0", _row()), RIGHT)]

    assert grade_programs(answers, Sandbox(unsafe=True))[0]["isolated"] == 0
    with pytest.raises(UserError, match="bubblewrap is not installed"):
        grade_programs(answers, Sandbox())


def test_the_hubs_own_splits_are_used_at_a_fixed_revision() -> None:
    assert TASK.hub.splits == {name: name for name in ("train", "validation", "test", "prompt")}
    assert len(TASK.hub.revision) == 40


def test_several_responses_to_a_problem_have_pass_at_k() -> None:
    assert (TASK.headline, TASK.pass_or_fail) == ("pass@1", True)
