"""MBPP: short Python programs for crowd-sourced problems (Austin et al. 2021, arXiv 2108.07732).

A row: {"task_id": 11, "text": "Write a python function to remove first and last occurrence of a
given character from the string.", "code": "def remove_Occ(s,ch): \\r\\n ...", "test_list": ["assert
remove_Occ('hello','l') == 'heo'", ...], "test_setup_code": "", "challenge_test_list": []}

Graded by running the response's program with the row's `test_list` in the sandbox. The prompt is
the authors' without examples; chat turns replace the [BEGIN] and [DONE] around their code
(https://github.com/google-research/google-research/tree/master/mbpp). As in the paper's main
results, the challenge tests are not run.
"""

from collections.abc import Sequence
from pathlib import Path

from draftmark.grading.thinking import after_thinking
from draftmark.tasks._program_grades import ENDINGS, grade_found, grade_one
from draftmark.tasks._programs import RULES, find_program
from draftmark.types import Example, HubData, ProgramRunner, Row, Task

_QUESTION = (
    "You are an expert Python programmer, and here is your task: {text} "
    "Your code should pass these tests:\n\n{tests}"
)


def to_example(example_id: str, row: Row) -> Example:
    """Return the example of a row; raises ValueError if its tests are missing or not text."""
    tests = row.get("test_list")
    if not (isinstance(tests, list) and tests and all(isinstance(test, str) for test in tests)):
        raise ValueError(f"test_list is not a list of tests: {str(tests)[:40]!r}")
    setup = row.get("test_setup_code", "")
    if not isinstance(setup, str):
        raise ValueError(f"test_setup_code is not text: {str(setup)[:40]!r}")
    listed = "\n".join(tests)
    question = _QUESTION.format(text=row["text"].strip(), tests=listed)
    return Example(
        id=example_id,
        messages=({"role": "user", "content": question},),
        reference=_unix(row["code"]),
        meta={"checks": _unix(f"{setup}\n{listed}"), "question": row["text"].strip()},
    )


def _unix(text: str) -> str:
    """Return a text with LF line ends; upstream's have CR LF."""
    return text.replace("\r\n", "\n")


def extract_program(text: str, checks: str = "") -> str:
    """Return the program of a response that `checks` test; see `_programs`."""
    return find_program(after_thinking(text), checks).program


def grade_programs(
    answers: Sequence[tuple[Example, str]], sandbox: ProgramRunner
) -> list[dict[str, float]]:
    """Return each response's pass@1, and 0 or 1 for each way to end and each of RULES.

    The ways to end are those of `Outcome`.
    """
    found = [find_program(after_thinking(text), each.meta["checks"]) for each, text in answers]
    return grade_found(found, [example.meta["checks"] for example, _ in answers], sandbox)


TASK = Task(
    name="mbpp",
    version=2,
    hub=HubData(
        path="google-research-datasets/mbpp",
        files="full/{split}-*.parquet",
        revision="4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        splits={
            "train": "train",
            "validation": "validation",
            "test": "test",
            "prompt": "prompt",
        },
    ),
    samples=Path(__file__).parent / "samples" / "mbpp",
    columns=("text", "code"),
    to_example=to_example,
    grade=grade_one(grade_programs),
    shots_from="prompt",
    grade_programs=grade_programs,
    headline="pass@1",
    pass_or_fail=True,
    outcomes={
        **ENDINGS,
        **RULES,
    },
    max_new_tokens=512,
    stop=("\n\n\n", "[DONE]"),  # no reference holds them; 8 in 974 hold an empty line
)
