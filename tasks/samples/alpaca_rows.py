"""Seeded generator of instructions with answers in Alpaca's published columns."""

from collections.abc import Iterator
from random import Random

from tasks.samples.alpaca_forms import Form
from tasks.samples.alpaca_long_forms import LONG
from tasks.samples.alpaca_more_forms import SHORT
from tasks.samples.wording import choose, with_articles

SHARE_OF_LONG = 0.5


def alpaca_rows(seed: int) -> Iterator[dict[str, str]]:
    """Instructions without end; one seed, always the same ones."""
    rng = Random(seed)
    while True:
        forms = LONG if rng.random() < SHARE_OF_LONG else SHORT
        yield instruction(rng.choice(forms), rng=rng)


def instruction(form: Form, *, rng: Random) -> dict[str, str]:
    """One instruction of a form, with its input and output."""
    values = form.scene(rng)
    return {
        column: with_articles(choose(getattr(form, column), rng=rng).format_map(values))
        for column in ("instruction", "input", "output")
    }
