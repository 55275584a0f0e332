"""Tests that the arithmetic is right and the texts are complete."""

import ast
import re
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.tasks.samples.word_problems import PROBLEMS, Problem, evaluate_whole, fill_problem

STEP = re.compile(r"(\S+) = \$?<<(\S+)=(\d+)>>(\d+)")
SEEDS = st.integers(min_value=0, max_value=2**32)
ANY_PROBLEM = st.sampled_from(PROBLEMS)
OPERATIONS = {
    ast.Add: Fraction.__add__,
    ast.Sub: Fraction.__sub__,
    ast.Mult: Fraction.__mul__,
    ast.Div: Fraction.__truediv__,
}


def exact(formula: str) -> Fraction:
    """Evaluate a formula by the usual precedence, in exact arithmetic."""

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            return OPERATIONS[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Constant)
        assert isinstance(node.value, int)
        return Fraction(node.value)

    return value(ast.parse(formula, mode="eval").body)


def row_of(problem: Problem, *, seed: int) -> dict[str, str]:
    return fill_problem(problem, rng=Random(seed))


@given(problem=ANY_PROBLEM, seed=SEEDS)
def test_every_annotation_evaluates_to_its_value(problem: Problem, seed: int) -> None:
    for line in row_of(problem, seed=seed)["answer"].splitlines()[:-1]:
        ((written, inside, value, after),) = STEP.findall(line)
        assert written.removeprefix("$") == inside
        assert exact(inside) == int(value) == int(after)


@given(problem=ANY_PROBLEM, seed=SEEDS)
def test_final_number_is_the_last_annotations_value(problem: Problem, seed: int) -> None:
    *steps, last = row_of(problem, seed=seed)["answer"].splitlines()
    assert 2 <= len(steps) <= 4
    assert last == f"#### {STEP.findall(steps[-1])[0][2]}"


@given(problem=ANY_PROBLEM, seed=SEEDS)
def test_no_wording_choice_or_field_is_left_open(problem: Problem, seed: int) -> None:
    text = "\n".join(row_of(problem, seed=seed).values())
    assert not re.search(r"[\[\]{}|]|  | [.,?]|\n\n", text)


@given(problem=ANY_PROBLEM, seed=SEEDS)
def test_every_number_of_a_problem_is_positive(problem: Problem, seed: int) -> None:
    text = "\n".join(row_of(problem, seed=seed).values())
    assert all(int(number) > 0 for number in re.findall(r"\d+", text))


def test_a_division_that_does_not_come_out_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="not whole"):
        evaluate_whole("a / 2", {"a": 7})
