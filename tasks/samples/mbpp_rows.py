"""Seeded generator of small programming problems in MBPP's published columns."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from random import Random
from string import Template
from textwrap import indent
from typing import Any

from tasks.samples.mbpp_lists import LISTS, Family
from tasks.samples.mbpp_numbers import NUMBERS
from tasks.samples.mbpp_strings import STRINGS, TABLES
from tasks.samples.wording import choose, with_articles

FAMILIES = (*LISTS, *STRINGS, *TABLES, *NUMBERS)
WORDS = (
    *("apple", "banana", "bread", "candle", "carpet", "cloud", "door", "eagle", "flower", "garden"),
    *("hat", "island", "jacket", "kettle", "lemon", "moon", "night", "orange", "paper", "river"),
    *("sea", "stone", "sugar", "table", "tree", "violin", "water", "window", "yellow", "zebra"),
)
MIRRORS = ("level", "noon", "radar", "stop", "pots", "stone", "notes", "tones", "deed", "civic")
NAMES = {
    "x": ("x", "item", "v"),
    "y": ("y", "other", "w"),
    "i": ("i", "j", "k"),
    "out": ("result", "out", "res"),
    "total": ("total", "answer", "acc"),
}
LIST_NAMES = ("nums", "numbers", "items", "values", "lst")
STRING_NAMES = ("s", "text", "word", "string")
NUMBER_NAMES = ("n", "num", "number")


def ints(rng: Random) -> list[int]:
    """Four to six different numbers."""
    return rng.sample(range(1, 25), rng.randint(4, 6))


def small(rng: Random) -> list[int]:
    """Three to five different digits."""
    return rng.sample(range(1, 10), rng.randint(3, 5))


def ordered(rng: Random) -> list[int]:
    """A list that is sorted, or sorted but for two neighbours, as likely as not."""
    nums = sorted(ints(rng))
    if rng.random() < 0.5:
        at = rng.randrange(1, len(nums))
        nums[at - 1], nums[at] = nums[at], nums[at - 1]
    return nums


# What an argument of a kind may be called, and how one is drawn.
KINDS: Mapping[str, tuple[tuple[str, ...], Callable[[Random], Any]]] = {
    "ints": (LIST_NAMES, ints),
    "small": (LIST_NAMES, small),
    "small_too": (("others", "second", "more"), small),
    "triple": (LIST_NAMES, lambda rng: rng.choices(range(1, 20), k=3)),
    "other_triple": (("others", "second", "more"), lambda rng: rng.choices(range(1, 20), k=3)),
    "repeats": (LIST_NAMES, lambda rng: rng.choices(rng.sample(range(1, 10), 3), k=5)),
    "ordered": (LIST_NAMES, ordered),
    "grid": (("grid", "lists", "rows"), lambda rng: [small(rng)[:2], small(rng)[:3]]),
    "tup": (("tup", "t", "values"), lambda rng: tuple(ints(rng)[:4])),
    "word": (STRING_NAMES, lambda rng: rng.choice(WORDS)),
    "text": (("s", "text", "sentence"), lambda rng: " ".join(rng.sample(WORDS, 3))),
    "words": (("words", "strings", "names"), lambda rng: rng.sample(WORDS, 4)),
    "mirror": (STRING_NAMES, lambda rng: rng.choice(MIRRORS)),
    "other_mirror": (("second", "t"), lambda rng: rng.choice(MIRRORS)),
    "letter": (("c", "letter", "char"), lambda rng: rng.choice("aeglnort")),
    "table": (("d", "table", "prices"), lambda rng: dict(pairs(rng))),
    "pairs": (("pairs", "rows", "entries"), lambda rng: pairs(rng)),
    "n": (NUMBER_NAMES, lambda rng: rng.randint(1, 9)),
    "count": (("a", "size", "value"), lambda rng: rng.randint(1, 40)),
    "other_count": (("b", "m"), lambda rng: rng.randint(1, 40)),
    "square": (NUMBER_NAMES, lambda rng: rng.choice([rng.randint(2, 99), rng.randint(2, 12) ** 2])),
    "big": (NUMBER_NAMES, lambda rng: rng.randint(10, 9999)),
}


def pairs(rng: Random) -> list[tuple[str, int]]:
    """Three words, each with a number; all differ."""
    return list(zip(rng.sample(WORDS, 3), rng.sample(range(1, 20), 3), strict=True))


def mbpp_rows(seed: int) -> Iterator[dict[str, Any]]:
    """Problems without end; one seed, always the same ones."""
    rng = Random(seed)
    for task_id in count(1):
        yield {"task_id": task_id} | problem(rng.choice(FAMILIES), rng=rng)


def problem(family: Family, *, rng: Random) -> dict[str, Any]:
    """One problem of a family: its text, a program, and three tests that differ."""
    constants = {} if family.k is None else {"k": rng.randint(*family.k)}
    name = choose(family.name, rng=rng).format(**constants)
    text = with_articles(choose(family.text, rng=rng).format(**constants))
    tests: dict[str, None] = {}
    while len(tests) < 3:
        tests[test(family, name=name, constants=constants, rng=rng)] = None
    return {
        "text": f"Write a {rng.choice(('', 'python '))}function to {text}.",
        "code": program(family, name=name, constants=constants, rng=rng),
        "test_list": [*tests],
        "test_setup_code": "",
        "challenge_test_list": [],
    }


def test(family: Family, *, name: str, constants: dict[str, int], rng: Random) -> str:
    """One assertion on fresh arguments."""
    arguments = [KINDS[kind][1](rng) for kind in family.takes.split()]
    expected = family.expect(*arguments, **constants)
    return f"assert {name}({', '.join(map(repr, arguments))}) == {expected!r}"


def program(family: Family, *, name: str, constants: dict[str, int], rng: Random) -> str:
    """The source of a function in one of the family's ways, with names of its own."""
    kinds = family.takes.split()
    parameters = {kind: rng.choice(KINDS[kind][0]) for kind in kinds}
    local = {key: rng.choice(names) for key, names in NAMES.items()}
    body = Template(rng.choice(family.bodies)).substitute(parameters | local, f=name, **constants)
    return f"def {name}({', '.join(parameters.values())}):\n{indent(body, '    ')}"
