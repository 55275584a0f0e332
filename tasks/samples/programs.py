"""Generates small programming problems in MBPP's columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from random import Random
from string import Template
from textwrap import indent
from typing import Any

from draftmark.tasks.samples.expressions import draw_values, evaluate
from draftmark.tasks.samples.wording import choose_wordings, correct_articles, read_templates


@dataclass(frozen=True)
class Family:
    """Programs that do one thing; `templates/programs.toml` explains the fields."""

    name: str
    text: str
    takes: Sequence[str]
    expect: str
    bodies: Sequence[str]
    k: tuple[int, int] | None = None


TEMPLATES = read_templates("programs")
FAMILIES = [Family(**family) for family in TEMPLATES["families"]]
LOCALS: Mapping[str, Sequence[str]] = TEMPLATES["locals"]
PARAMETERS: Mapping[str, Sequence[str]] = TEMPLATES["parameters"]


def generate_mbpp_rows(seed: int) -> Iterator[dict[str, Any]]:
    """Yield rows without end, the same for the same seed."""
    rng = Random(seed)
    for task_id in count(1):
        yield {"task_id": task_id} | fill_family(rng.choice(FAMILIES), rng=rng)


def fill_family(family: Family, *, rng: Random) -> dict[str, Any]:
    """Return one problem: its text, a program, and three tests that differ."""
    constants = {} if family.k is None else {"k": rng.randint(*family.k)}
    name = choose_wordings(family.name, rng=rng).format(**constants)
    text = correct_articles(choose_wordings(family.text, rng=rng).format(**constants))
    tests: dict[str, None] = {}
    while len(tests) < 3:
        tests[write_test(family, name=name, constants=constants, rng=rng)] = None
    return {
        "text": f"Write a {rng.choice(('', 'python '))}function to {text}.",
        "code": write_program(family, name=name, constants=constants, rng=rng),
        "test_list": [*tests],
        "test_setup_code": "",
        "challenge_test_list": [],
    }


def write_test(family: Family, *, name: str, constants: Mapping[str, int], rng: Random) -> str:
    """Write one assertion about newly drawn arguments."""
    names = TEMPLATES["pools"] | {"sort_almost": partial(sort_almost, rng=rng)}
    rules = {kind: TEMPLATES["draws"][kind] for kind in family.takes}
    arguments = draw_values(rules, names, rng=rng)
    expected = evaluate(family.expect, {**arguments, **constants})
    return f"assert {name}({', '.join(map(repr, arguments.values()))}) == {expected!r}"


def write_program(family: Family, *, name: str, constants: Mapping[str, int], rng: Random) -> str:
    """Write a function with one of the family's bodies, naming its variables at random."""
    parameters = {kind: rng.choice(PARAMETERS[kind]) for kind in family.takes}
    variables = {variable: rng.choice(names) for variable, names in LOCALS.items()}
    names = {**parameters, **variables, **constants, "f": name}
    body = Template(rng.choice(family.bodies)).substitute(names)
    return f"def {name}({', '.join(parameters.values())}):\n{indent(body, '    ')}"


def sort_almost(numbers: Iterable[int], *, rng: Random) -> list[int]:
    """Sort numbers, then half of the time swap two neighbors."""
    ordered = sorted(numbers)
    if rng.random() < 0.5:
        at = rng.randrange(1, len(ordered))
        ordered[at - 1], ordered[at] = ordered[at], ordered[at - 1]
    return ordered
