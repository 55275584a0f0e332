"""Generates instructions with answers in Alpaca's columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from draftmark.tasks.samples.expressions import draw_values
from draftmark.tasks.samples.wording import NAMES, choose_wordings, correct_articles, read_templates


@dataclass(frozen=True)
class Form:
    """A kind of instruction; many have no input."""

    scene: str
    instruction: str
    output: str
    input: str = ""


TEMPLATES = read_templates("instructions")
SHORT = [Form(**form) for form in TEMPLATES["short"]]
LONG = [Form(**form) for form in TEMPLATES["long"]]
SHARE_OF_LONG = 0.5
NOUNS = [noun for nouns in TEMPLATES["pools"]["kinds"].values() for noun in nouns]
POOLS = TEMPLATES["pools"] | NAMES | {"nouns": NOUNS}


def generate_alpaca_rows(seed: int) -> Iterator[dict[str, str]]:
    """Yield rows without end, the same for the same seed."""
    rng = Random(seed)
    while True:
        forms = LONG if rng.random() < SHARE_OF_LONG else SHORT
        yield fill_form(rng.choice(forms), rng=rng)


def fill_form(form: Form, *, rng: Random) -> dict[str, str]:
    """Return one instruction with its input and output."""
    values = draw_values(TEMPLATES["scenes"][form.scene], POOLS, rng=rng)
    texts = {"instruction": form.instruction, "input": form.input, "output": form.output}
    return {
        column: correct_articles(choose_wordings(text, rng=rng).format_map(values))
        for column, text in texts.items()
    }
