"""HumanEval's grading: completions and whole functions, with what the question defines."""

from typing import Any

import pytest
from places import REAL_ROWS

from draftmark.data.rows import DATA_VARIABLE, load_splits
from draftmark.grading.isolation import bubblewrap
from draftmark.grading.sandbox import Sandbox
from draftmark.tasks._programs import RULES
from draftmark.tasks.humaneval import (
    ALL_RULES,
    COMPLETION,
    TASK,
    find_solution,
    grade_programs,
    to_example,
)

REASON = bubblewrap.why_unavailable()
isolated = pytest.mark.skipif(REASON is not None, reason=f"no isolation: {REASON}")
PROMPT = (
    "import math\n\n\ndef half(x):\n    return x / 2\n\n\n"
    'def area(r):\n    """ The area of half a circle. """\n'
)
BODY = "    return half(math.pi * r * r)\n"
WHOLE = "def area(r):\n    return half(math.pi * r * r)\n"
ROW = {
    "task_id": "x/0",
    "prompt": PROMPT,
    "entry_point": "area",
    "canonical_solution": BODY,
    "test": "def check(candidate):\n    assert candidate(2) == 2 * math.pi\n",
}
# response -> the rule that finds its program
RIGHT = {
    BODY: COMPLETION,
    BODY + "\n\nThis is the end of the function.": COMPLETION,
    "   " + BODY.strip(): COMPLETION,  # a tokenizer may drop the first space
    f"```python\n{BODY}```": COMPLETION,
    WHOLE: "whole_response",
    f"Sure:\n```python\n{WHOLE}```\nIt calls `half`.": "last_block",
    f"```python\n{PROMPT}{BODY}```": "last_block",
    f"```python\nfrom __future__ import annotations\n{WHOLE}```": "last_block",
    f"Here it is:\n\n{WHOLE}\nDone.": "loose_lines",
    f"```python\n{WHOLE}```\nYou asked:\n```python\n{PROMPT}```": "last_block",
}
WRONG = {
    "    return math.pi * r * r": COMPLETION,
    "    pass": COMPLETION,
    f"```python\n{PROMPT}```": "no_program",  # the question again
    "I cannot.": "no_program",
    "": "no_program",
    "    It is hard to say.": "no_program",
}


def test_a_row_becomes_an_example_whose_question_ends_with_the_function() -> None:
    example = to_example("humaneval/test/0", ROW)

    assert example.messages[0]["content"].endswith(PROMPT)
    assert example.reference == BODY
    assert example.meta["checks"].endswith("check(area)")
    with pytest.raises(ValueError, match="defines no function check"):
        to_example("humaneval/test/0", {**ROW, "test": "assert area(2)"})


@pytest.mark.parametrize(("response", "rule"), [*RIGHT.items(), *WRONG.items()])
def test_the_rule_of_each_response(response: str, rule: str) -> None:
    assert find_solution(response, PROMPT, "area").rule == rule


@isolated
def test_right_responses_pass_and_wrong_ones_do_not() -> None:
    example = to_example("humaneval/test/0", ROW)
    scores = grade_programs([(example, text) for text in (*RIGHT, *WRONG)], Sandbox())
    passed = [score["pass@1"] for score in scores]

    assert passed == [1.0] * len(RIGHT) + [0.0] * len(WRONG)
    assert set(scores[0]) == {"pass@1", *TASK.outcomes}
    assert [score[COMPLETION] for score in scores[:5]] == [1, 1, 1, 1, 0]
    assert all(
        sum(score[rule] for rule in ALL_RULES if rule != "with_helpers") == 1 for score in scores
    )
    assert set(RULES) < set(ALL_RULES)


@isolated
def test_every_sample_solution_passes() -> None:
    examples = load_splits(TASK, {"test": 6}, sources=["samples"])["test"].examples
    scores = grade_programs([(one, one.reference) for one in examples], Sandbox())

    assert [score["pass@1"] for score in scores] == [1.0] * 6


def test_no_stop_string_cuts_a_reference() -> None:
    examples = load_splits(TASK, {"test": 6}, sources=["samples"])["test"].examples

    assert not [one.id for one in examples for stop in TASK.stop if stop in one.reference]


@pytest.fixture(scope="module")
def real() -> Any:
    if not (REAL_ROWS / "humaneval").is_dir():
        pytest.skip(f"no real rows: {DATA_VARIABLE} names none of humaneval")
    counts: Any = {"test": 164}
    return load_splits(TASK, counts, sources=["directory"], directory=REAL_ROWS)["test"].examples


@isolated
@pytest.mark.slow
def test_all_164_canonical_solutions_pass(real: Any) -> None:
    scores = grade_programs([(example, example.reference) for example in real], Sandbox())

    failed = [one.id for one, score in zip(real, scores, strict=True) if score["pass@1"] != 1]
    assert len(real) == 164
    assert failed == []


@isolated
def test_real_solutions_pass_as_a_chat_model_writes_them(real: Any) -> None:
    """HumanEval/32, 38 and 50 call functions that the question defines."""
    chosen = [real[number] for number in (0, 32, 38, 50)]
    answers = []
    for example in chosen:
        function = example.meta["question"].rpartition("def ")[2]
        answers.append((example, f"Here:\n```python\ndef {function}{example.reference}```"))
    scores = grade_programs(answers, Sandbox())

    assert [score["pass@1"] for score in scores] == [1.0] * 4
    assert [score["last_block"] for score in scores] == [1.0] * 4
