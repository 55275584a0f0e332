"""Seeded generator of instructions with answers in Alpaca's published columns."""

from collections.abc import Iterator
from random import Random

from tasks.samples.alpaca_forms import Form
from tasks.samples.alpaca_more_forms import FORMS
from tasks.samples.wording import choose


def alpaca_rows(seed: int) -> Iterator[dict[str, str]]:
    """Instructions without end; one seed, always the same ones."""
    rng = Random(seed)
    while True:
        yield instruction(rng.choice(FORMS), rng=rng)


def instruction(form: Form, *, rng: Random) -> dict[str, str]:
    """One instruction of a form, with its input and output."""
    values = form.scene(rng)
    return {
        column: choose(getattr(form, column), rng=rng).format_map(values)
        for column in ("instruction", "input", "output")
    }
