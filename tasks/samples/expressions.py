"""Draws values as the tables in `templates/*.toml` say.

Only text that is committed with this package may reach `evaluate`: the functions it offers are few,
but `eval` cannot confine hostile text.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from random import Random
from types import CodeType
from typing import Any

Rule = str | Sequence[Any]  # an expression, or a list to choose from
DRAWS = ("choice", "choices", "randint", "random", "randrange", "sample")
FUNCTIONS = {
    function.__name__: function
    for function in (
        *(abs, all, any, dict, enumerate, format, int, len, list, map, max, min, ord, range),
        *(reversed, round, sorted, str, sum, tuple, zip),
    )
} | {"math": math}


def draw_values(
    rules: Mapping[str, Rule], names: Mapping[str, Any], *, rng: Random
) -> dict[str, Any]:
    """Draw a table's values in order; each may use `names` and the values above it.

    A key "a, b" unpacks its value.
    """
    values: dict[str, Any] = {}
    for key, rule in rules.items():
        known = {**names, **values}
        value = evaluate(rule, known, rng=rng) if isinstance(rule, str) else rng.choice(rule)
        values |= zip(key.split(", "), value, strict=True) if ", " in key else {key: value}
    return values


def evaluate(expression: str, names: Mapping[str, Any], *, rng: Random | None = None) -> Any:
    """Evaluate an expression, which may draw if there is a generator."""
    draws = {name: getattr(rng, name) for name in DRAWS} if rng else {}
    return eval(compile_expression(expression), {"__builtins__": FUNCTIONS, **draws, **names})


@cache
def compile_expression(expression: str) -> CodeType:
    """Compile an expression once for all rows."""
    return compile(expression, "<template>", "eval")
