"""Tests how values are drawn from the rules of a table."""

from random import Random

import pytest

from draftmark.tasks.samples.expressions import draw_values, evaluate


def test_rules_are_applied_in_order_and_see_the_values_above_them() -> None:
    rules = {"a": "base + 1", "b, c": "(a, [number * a for number in range(3)])", "d": ["only"]}
    values = draw_values(rules, {"base": 1}, rng=Random(0))
    assert values == {"a": 2, "b": 2, "c": [0, 2, 4], "d": "only"}


def test_draws_are_those_of_the_generator() -> None:
    values = draw_values({"a": "randint(1, 99)", "b": [*range(99)]}, {}, rng=Random(5))
    again = Random(5)
    assert values == {"a": again.randint(1, 99), "b": again.choice(range(99))}


@pytest.mark.parametrize("expression", ["open('x')", "__import__('os')", "randint(1, 2)"])
def test_an_expression_without_a_generator_knows_only_the_listed_functions(expression: str) -> None:
    with pytest.raises(NameError):
        evaluate(expression, {})
