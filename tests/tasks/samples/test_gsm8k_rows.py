"""The arithmetic of the GSM8K-shaped rows is right, and their wording is whole."""

import ast
import re
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.samples.gsm8k_more_templates import TEMPLATES
from tasks.samples.gsm8k_rows import problem, total
from tasks.samples.gsm8k_templates import Template

STEP = re.compile(r"(\S+) = \$?<<(\S+)=(\d+)>>(\d+)")
SEEDS = st.integers(min_value=0, max_value=2**32)
ANY_TEMPLATE = st.sampled_from(TEMPLATES)
OPERATIONS = {
    ast.Add: Fraction.__add__,
    ast.Sub: Fraction.__sub__,
    ast.Mult: Fraction.__mul__,
    ast.Div: Fraction.__truediv__,
}


def exact(formula: str) -> Fraction:
    """The value of a sum by the usual precedence, in exact arithmetic."""

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            return OPERATIONS[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Constant)
        assert isinstance(node.value, int)
        return Fraction(node.value)

    return value(ast.parse(formula, mode="eval").body)


def row_of(template: Template, *, seed: int) -> dict[str, str]:
    question, answer = problem(template, rng=Random(seed))
    return {"question": question, "answer": answer}


@given(template=ANY_TEMPLATE, seed=SEEDS)
def test_every_annotation_evaluates_to_its_value(template: Template, seed: int) -> None:
    for line in row_of(template, seed=seed)["answer"].splitlines()[:-1]:
        ((written, inside, value, after),) = STEP.findall(line)
        assert written.removeprefix("$") == inside
        assert exact(inside) == int(value) == int(after)


@given(template=ANY_TEMPLATE, seed=SEEDS)
def test_final_number_is_the_last_annotations_value(template: Template, seed: int) -> None:
    *steps, last = row_of(template, seed=seed)["answer"].splitlines()
    assert 2 <= len(steps) <= 4
    assert last == f"#### {STEP.findall(steps[-1])[0][2]}"


@given(template=ANY_TEMPLATE, seed=SEEDS)
def test_no_wording_choice_or_field_is_left_open(template: Template, seed: int) -> None:
    text = "\n".join(row_of(template, seed=seed).values())
    assert not re.search(r"[\[\]{}|]|  | [.,?]|\n\n", text)


@given(template=ANY_TEMPLATE, seed=SEEDS)
def test_every_number_of_a_problem_is_positive(template: Template, seed: int) -> None:
    text = "\n".join(row_of(template, seed=seed).values())
    assert all(int(number) > 0 for number in re.findall(r"\d+", text))


def test_a_division_that_does_not_come_out_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="not whole"):
        total("a / 2", numbers={"a": 7})
