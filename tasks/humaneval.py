"""HumanEval: Python functions to complete (Chen et al. 2021, arXiv 2107.03374).

A row: {"task_id": "HumanEval/0", "prompt": "from typing import List\\n\\n\\ndef
has_close_elements(numbers: List[float], threshold: float) -> bool:\\n    ...", "entry_point":
"has_close_elements", "canonical_solution": "    for idx, elem in enumerate(numbers): ...", "test":
"def check(candidate): ..."}

The question is an instruction and the row's prompt, which stands last: a base model continues it,
a chat model writes the function anew. Graded by running the prompt, then the response's program,
then the row's tests in the sandbox, as the authors' evaluation does
(https://github.com/openai/human-eval at 6d43fb9, human_eval/execution.py). So the prompt's imports
and helper functions are there, and a function that is written anew replaces the one to complete.
"""

import ast
from collections.abc import Iterator, Sequence
from itertools import dropwhile
from pathlib import Path

from draftmark.grading.thinking import after_thinking
from draftmark.tasks._program_grades import ENDINGS, grade_found, grade_one
from draftmark.tasks._programs import RULES, Code, Found, code_blocks, find_program, join_programs
from draftmark.types import Example, HubData, ProgramRunner, Row, Task

_QUESTION = "Complete this Python function. Reply with the code of the whole function.\n\n{prompt}"
COMPLETION = "completion"
ALL_RULES = {COMPLETION: "it continues the function of the question", **RULES}


def to_example(example_id: str, row: Row) -> Example:
    """Return the example of a row; raises ValueError if its tests do not define `check`."""
    if "check" not in Code(row["test"]).defined:
        raise ValueError(f"the test defines no function check: {row['test'][:40]!r}")
    question = _QUESTION.format(prompt=row["prompt"])
    return Example(
        id=example_id,
        messages=({"role": "user", "content": question},),
        reference=row["canonical_solution"],
        meta={
            "question": row["prompt"],
            "entry_point": row["entry_point"],
            "checks": f"{row['test']}\ncheck({row['entry_point']})",
        },
    )


def find_solution(response: str, prompt: str, entry_point: str) -> Found:
    """Return the program of a response below its prompt, and the rule that found it.

    The rule `completion` comes first: the response, or one of its blocks, begins with an indented
    line, and its longest part that continues the prompt as Python is the function's body. Other
    responses have the rules of `_programs`.
    """
    for text in (response, *code_blocks(response)):
        if body := _longest_body(text, prompt, entry_point):
            return Found(prompt + body, COMPLETION)
    found = find_program(response, entry_point)
    return Found(join_programs(prompt, found.program), found.rule, found.with_helpers)


def _longest_body(text: str, prompt: str, entry_point: str) -> str:
    """Return the most leading lines of a text that are the body of a prompt's function, or ""."""
    lines = list(dropwhile(lambda line: not line.strip(), text.split("\n")))
    if not lines or not lines[0].startswith((" ", "\t")):
        return ""
    for function in _functions(Code(prompt), entry_point):
        if _indent(lines[0]) == function.body[0].col_offset - 1:
            lines[0] = f" {lines[0]}"  # a tokenizer may drop the first space of a text
    for end in range(len(lines), 0, -1):
        body = "\n".join(lines[:end])
        if any(map(_has_body, _functions(Code(prompt + body), entry_point))):
            return body
    return ""


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _functions(code: Code, name: str) -> Iterator[ast.FunctionDef]:
    for each in code.statements:
        if isinstance(each, ast.FunctionDef) and each.name == name:
            yield each


def _has_body(function: ast.FunctionDef) -> bool:
    """True if a function has a statement besides its docstring."""
    return len(function.body) > (ast.get_docstring(function) is not None)


def grade_programs(
    answers: Sequence[tuple[Example, str]], sandbox: ProgramRunner
) -> list[dict[str, float]]:
    """Return each response's pass@1, and 0 or 1 for each way to end and each of ALL_RULES.

    The ways to end are those of `Outcome`.
    """
    found = [
        find_solution(after_thinking(text), each.meta["question"], each.meta["entry_point"])
        for each, text in answers
    ]
    scores = grade_found(found, [example.meta["checks"] for example, _ in answers], sandbox)
    return [
        {**score, COMPLETION: float(one.rule == COMPLETION)}
        for one, score in zip(found, scores, strict=True)
    ]


TASK = Task(
    name="humaneval",
    version=1,
    hub=HubData(
        path="openai/openai_humaneval",
        files="openai_humaneval/{split}-*.parquet",
        revision="7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
        splits={"test": "test"},  # upstream's only split
    ),
    samples=Path(__file__).parent / "samples" / "humaneval",
    columns=("prompt", "canonical_solution", "test", "entry_point"),
    to_example=to_example,
    grade=grade_one(grade_programs),
    grade_programs=grade_programs,
    headline="pass@1",
    pass_or_fail=True,
    outcomes={**ENDINGS, **ALL_RULES},
    max_new_tokens=512,
    # The authors' stop sequences (Chen et al. 2021, section 2.1), for base models.
    stop=("\nclass", "\ndef", "\n#", "\nif", "\nprint"),
)
