"""The program of a response: what CommonMark allows and chat models write around it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.grading.isolation import bubblewrap
from draftmark.grading.sandbox import Sandbox
from draftmark.tasks._programs import RULES, find_program
from draftmark.tasks.mbpp import grade_programs, to_example

REASON = bubblewrap.why_unavailable()
isolated = pytest.mark.skipif(REASON is not None, reason=f"no isolation: {REASON}")
CHECKS = "assert add(1, 2) == 3\nassert add(-1, 1) == 0"
ADD = "def add(a, b):\n    return a + b"
WRONG = "def add(a, b):\n    return a - b"
BLOCK = f"```python\n{ADD}\n```"


def _indented(text: str, by: str) -> str:
    return "\n".join(by + line if line else line for line in text.split("\n"))


# What surrounds a right program -> the response, and the rule that finds the program.
RIGHT: dict[str, tuple[str, str]] = {
    "bare": (ADD, "whole_response"),
    "bare, with blank lines": (f"import math\n\n\n{ADD}\n\n", "whole_response"),
    "bare, with a fence in a docstring": (f'"""\n```\nadd\n```\n"""\n{ADD}', "whole_response"),
    "the authors' marks": (f"[BEGIN]\n{ADD}\n[DONE] It adds.", "whole_response"),
    "fenced": (f"Here:\n{BLOCK}\nDone.", "last_block"),
    "fenced, no language": (f"```\n{ADD}\n```", "last_block"),
    "fenced with tildes": (f"~~~py\n{ADD}\n~~~", "last_block"),
    "a longer fence around a shorter one": (f"````markdown\n{BLOCK}\n````", "last_block"),
    "a language with arguments": (f'```python title="a.py"\n{ADD}\n```', "last_block"),
    "Windows line ends": (BLOCK.replace("\n", "\r\n"), "last_block"),
    "in a numbered list": (f"1. Define it:\n\n{_indented(BLOCK, '   ')}\n2. Done", "last_block"),
    "in a nested list": (f"- a\n  - b\n\n{_indented(BLOCK, '    ')}", "last_block"),
    "in a quote": (_indented(BLOCK, "> "), "last_block"),
    "an odd literal": (f"```python\nodd = '\\B'\n{ADD}\n```", "last_block"),
    "in a quoted list": (f"> 1. So:\n{_indented(BLOCK, '>    ')}", "last_block"),
    "below HTML": (f"<answer>\n{BLOCK}\n</answer>", "last_block"),
    "an indented block": (f"So:\n\n{_indented(ADD, '    ')}\n\nDone.", "last_block"),
    "a fence in an indented block": (f"So:\n\n{_indented(BLOCK, '    ')}", "last_block"),
    "an indented fence after prose": (f"So:\n{_indented(BLOCK, '      ')}", "loose_lines"),
    "after a shell command": (f"```bash\npip install x\n```\n{BLOCK}", "last_block"),
    "after an output sample": (f"It gives:\n```\n3\n```\n{BLOCK}", "last_block"),
    "after the tests": (f"```python\n{CHECKS}\n```\n{BLOCK}", "last_block"),
    "before the tests": (f"{BLOCK}\n```python\n{CHECKS}\nprint(add(1))\n```", "last_block"),
    "before usage": (f"{BLOCK}\n```python\n>>> add(1, 2)\n3\n```", "last_block"),
    "after a wrong one": (f"```python\n{WRONG}\n```\nNo:\n{BLOCK}", "last_block"),
    "before one that is cut": (f"{BLOCK}\n```python\ndef add(a,", "last_block"),
    "before a sketch": (f"{BLOCK}\n```\ndef add(a, b):\n    <the sum>\n```", "last_block"),
    "another language as well": (f"{BLOCK}\n```js\nfunction add(a, b) {{}}\n```", "last_block"),
    "before a sketch that is Python": (
        f'{BLOCK}\nFill in:\n```python\ndef add(a, b):\n    """Add."""\n    ...\n```', "last_block",
    ),
    "before a result of the same name": (
        f"{BLOCK}\nUsage:\n```python\nadd = add(1, 2)\nprint(add)\n```", "last_block",
    ),
    "before a block of another language that is Python by chance": (
        f"{BLOCK}\nIn words:\n```text\nadd = a + b\n```", "last_block",
    ),
    "marked as another language": (f"```code\n{ADD}\n```", "last_block"),
    "the language in a line of its own": (f"```\npython\n{ADD}\n```", "last_block"),
    "never closed but by the authors' mark": (f"```python\n{ADD}\n[DONE]", "last_block"),
    "a fence behind its last statement": (f"```python\n{ADD}```\nDone.", "last_block"),
    "typed at prompts": (
        "```python\n>>> def add(a, b):\n...     return a + b\n...\n>>> add(1, 2)\n3\n```",
        "last_block",
    ),
    "HTML": (
        '<pre><code class="language-python">def add(a, b):\n    return a + b if a &lt; 9 else 0\n'
        "</code></pre>",
        "last_block",
    ),
    "a byte-order mark": (f"\ufeff{ADD}", "whole_response"),
    "a fence indented as a list, its code not": (
        f"1. So:\n   ```python\n{ADD}\n   ```\n", "loose_lines",
    ),
    "an assignment": ("```python\nadd = lambda a, b: a + b\n```", "last_block"),
    "a decorator": (f"```python\nimport functools\n@functools.cache\n{ADD}\n```", "last_block"),
    "thinking with a wrong one": (
        f"<think>\n```python\n{WRONG}\n```\n</think>\n{BLOCK}", "last_block",
    ),
    "thinking that the prompt opened": (f"{WRONG}\n</think>\n\n{ADD}", "whole_response"),
    "never closed": (f"```python\n{ADD}", "last_block"),
    "never closed, then prose": (f"```python\n{ADD}\n\nThis adds them.", "loose_lines"),
    "closed, but not on a line of its own": (f"```python\n{ADD}\n```Done.", "loose_lines"),
    "opened within a line": (f"Here: ```python\n{ADD}\n```\nDone.", "loose_lines"),
    "opened by the prompt": (f"{ADD}\n```\nExplanation: trivial.", "loose_lines"),
    "opened by the prompt, then usage": (
        f"{ADD}\n```\nUsage:\n```python\nadd(1, 2)\n```", "loose_lines",
    ),
    "prose and no fence": (f"Sure! This adds:\n\n{ADD}\n\nIt works: try it.", "loose_lines"),
    "prose that is Python by chance": (f"{ADD}\n\nNote: done", "loose_lines"),
    "indented by two, with an empty line within": (
        "So:\n  def add(a, b):\n      total = a + b\n\n      return total\nDone.", "loose_lines",
    ),
    "a span of code": ("Take `add = lambda a, b: a + b`.", "loose_lines"),
}  # fmt: skip
HELPED = {
    "a helper before": "```python\ndef plus(a, b):\n    return a + b\n```\n"
    "```python\ndef add(a, b):\n    return plus(a, b)\n```",
    "a helper after": "```python\ndef add(a, b):\n    return plus(a, b)\n```\n"
    "```python\ndef plus(a, b):\n    return a + b\n```",
    "helpers of helpers, with a constant": "```python\nfrom operator import add as plus\nZERO = 0\n"
    "crash()\n```\n```python\ndef total(a, b):\n    return plus(a, b) + ZERO\n```\n"
    "```python\ndef add(a, b):\n    return total(a, b)\n```",
    "an import of the future": "```python\ndef plus(a, b):\n    return a + b\n```\n"
    "```python\nfrom __future__ import annotations\ndef add(a, b):\n    return plus(a, b)\n```",
    "a star import": "```python\nfrom math import *\n```\n"
    "```python\ndef add(a, b):\n    return floor(a + b)\n```",
    "the nearest of two": "```python\ndef plus(a, b):\n    return 0\n```\n"
    "```python\ndef plus(a, b):\n    return a + b\n```\n"
    "```python\ndef add(a, b):\n    return plus(a, b)\n```",
    "a decorated one in prose": "First\n@staticmethod\ndef plus(a, b):\n    return a + b\nthen\n"
    "def add(a, b):\n    return plus(a, b)\nas asked.",
}
# Responses without a right program.
FAULTY = {
    "the last one is wrong": (f"{BLOCK}\nOr:\n```python\n{WRONG}\n```", "assertion"),
    "its own test crashes": (f"```python\n{ADD}\nadd(1)\n```", "error"),
    "a closed block is no Python": (f"```python\n{ADD}\nadd(1, 2) -> 3\n```", "syntax"),
    "a closed block below prose is no Python": (
        f"Here:\n```python\n{ADD}\nadd(1, 2) -> 3\n```", "syntax",
    ),
    "a function cut within": (
        "```python\ndef add(a, b):\n    if a:\n        return a + b\n    else", "syntax",
    ),
    "one that is indented by one space, cut within": (
        "```python\ndef add(a, b):\n total = a\n return (total + b", "syntax",
    ),
    "cut while thinking": (f"<think>\n{BLOCK}\nHmm", "error"),
    "nothing is defined": ("```bash\npip install add\n```", "syntax"),
    "prose": ("Add a and b.", "syntax"),
}  # fmt: skip


def _statuses(responses: list[str]) -> list[dict[str, Any]]:
    row = {"text": "Add.", "code": ADD, "test_list": CHECKS.split("\n")}
    example = to_example("mbpp/test/0", row)
    return list(grade_programs([(example, text) for text in responses], Sandbox()))


@isolated
def test_a_right_program_passes_whatever_is_around_it() -> None:
    scores = dict(zip(RIGHT, _statuses([text for text, _ in RIGHT.values()]), strict=True))

    assert {name: one for name, one in scores.items() if one["pass@1"] != 1} == {}
    found = {name: [rule for rule in RULES if one[rule]] for name, one in scores.items()}
    assert found == {name: [rule] for name, (_, rule) in RIGHT.items()}


@isolated
def test_what_a_program_reads_comes_from_other_blocks() -> None:
    for name, score in zip(HELPED, _statuses(list(HELPED.values())), strict=True):
        assert score["pass@1"] == score["with_helpers"] == 1, name


@isolated
def test_no_other_response_passes() -> None:
    for name, score in zip(FAULTY, _statuses([text for text, _ in FAULTY.values()]), strict=True):
        assert (score["pass@1"], score[FAULTY[name][1]]) == (0, 1), name
        assert score["with_helpers"] == 0, name


def test_code_of_other_blocks_that_is_not_read_does_not_run() -> None:
    response = f"```python\nvalue = int(input())\nunused = 1 / 0\n```\n{BLOCK}"

    assert find_program(response, CHECKS).program == f"{ADD}\n"


def test_a_global_that_is_only_set_needs_no_helper() -> None:
    setting = "def add(a, b):\n    global total\n    total = a + b\n    return a + b\n"

    found = find_program(f"```\ntotal = crash()\n```\n```\n{setting}```", CHECKS)
    assert found.program == setting


def _fenced(*blocks: str) -> str:
    return "".join(f"```python\n{block}\n```\n" for block in blocks)


PLUS = "@cache\ndef plus(a, b):\n    return a + b"
CALLS = "def add(a, b):\n    return plus(a, b)"


class TestHelpers:
    """Helpers are what a program reads and does not bind, and what they read: no more."""

    def test_the_needed_ones_are_taken_with_their_decorators(self) -> None:
        others = "def unused():\n    return 1", "def add(a, b):\n    return 0"
        first = "\n".join(["from functools import cache", *others, PLUS])
        found = find_program(_fenced(first, CALLS), CHECKS)
        assert found.program == f"from functools import cache\n\n{PLUS}\n\n{CALLS}\n"

    def test_a_local_variable_needs_none(self) -> None:
        local = "def add(a, b):\n    total = a + b\n    return total"
        found = find_program(_fenced("total = 3", local), CHECKS)
        assert found.program == f"{local}\n"

    def test_the_nearest_one_after_the_program_is_taken(self) -> None:
        plus, wrong = (f"def plus(a, b):\n    return a {sign} b" for sign in "+-")
        found = find_program(_fenced(CALLS, plus, wrong), CHECKS)
        assert "a + b" in found.program
        assert "a - b" not in found.program

    def test_they_stand_below_all_imports_of_the_future(self) -> None:
        futures = "from __future__ import annotations\nfrom __future__ import division"
        found = find_program(_fenced("ONE = 1", f"{futures}\n{CALLS}\nplus = max\nONE"), CHECKS)
        assert found.program.startswith(f"{futures}\n")
        plus = "def plus(a, b):\n    return a + b"
        found = find_program(_fenced(plus, f"{futures}\n{CALLS}"), CHECKS)
        assert found.program.startswith(f"{futures}\n{plus}")


def test_classes_of_the_setup_are_found_beside_the_function() -> None:
    tree = "```python\nclass Node:\n    pass\n```"
    count = "```python\ndef count(root):\n    return 1\n```"
    checks = "root = Node()\nassert count(root) == 1"

    for response in (f"{tree}\n{count}", f"{count}\n{tree}"):
        found = find_program(response, checks)
        assert "class Node" in found.program
        assert "def count" in found.program


def test_a_tested_function_may_have_the_name_of_a_built_in_one() -> None:
    own = "def max(a, b):\n    return b"

    assert find_program(f"So:\n```\n{own}\n```", "assert max(2, 1) == 1").program == f"{own}\n"


_PIECES = st.sampled_from(
    ["```", "~~~", "\n", "    ", "> ", "1. ", "def add(a, b):", "return a", "`", "(", "[DONE]", "é"]
)


@given(st.lists(_PIECES, max_size=30).map("".join) | st.text())
def test_any_response_has_one_rule(response: str) -> None:
    found = find_program(response, CHECKS)

    assert sum(found.tally()[rule] for rule in RULES if rule != "with_helpers") == 1


@pytest.mark.parametrize("response", ["(" * 5000, "-" * 50_000 + "1", "> " * 5000, "\0", "\ud800"])
def test_a_hostile_response_costs_no_stage(response: str) -> None:
    assert find_program(f"```python\n{response}\n```\n{ADD}", CHECKS).rule == "loose_lines"
