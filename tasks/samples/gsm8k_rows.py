"""Seeded generator of arithmetic word problems in GSM8K's published two-column form."""

from collections.abc import Iterator
from random import Random

from tasks.samples.gsm8k_more_templates import TEMPLATES
from tasks.samples.gsm8k_templates import POOLS, Step, Template
from tasks.samples.wording import BOYS, GIRLS, choose, fill

PRONOUNS = {True: ("she", "her", "her"), False: ("he", "his", "him")}


def gsm8k_rows(seed: int) -> Iterator[dict[str, str]]:
    """Rows of `question` and `answer` without end; one seed, always the same ones."""
    rng = Random(seed)
    while True:
        question, answer = problem(rng.choice(TEMPLATES), rng=rng)
        yield {"question": question, "answer": answer}


def problem(template: Template, *, rng: Random) -> tuple[str, str]:
    """One question and its worked answer."""
    numbers = {name: rng.randint(*span) for name, span in template.ranges.items()}
    for name, formula in template.given.items():
        numbers[name] = total(formula, numbers=numbers)
    words = cast_of_words(rng)
    question = fill(rng.choice(template.questions), words=words | numbers, rng=rng)
    lines = [solve(step, words=words, numbers=numbers, rng=rng) for step in template.steps]
    return question, "\n".join([*lines, f"#### {numbers[template.steps[-1].result]}"])


def solve(step: Step, *, words: dict[str, str], numbers: dict[str, int], rng: Random) -> str:
    """The answer line of a step; its result joins `numbers`, for the steps after it."""
    formula = choose(step.formula, rng=rng)
    result = total(formula, numbers=numbers)
    written = "".join(str(numbers.get(part, part)) for part in formula.split())
    numbers[step.result] = result
    sums = {
        "work": f"{written} = <<{written}={result}>>{result}",
        "cash": f"${written} = $<<{written}={result}>>{result}",
    }
    return fill(step.line, words=words | sums | numbers, rng=rng)


def total(formula: str, *, numbers: dict[str, int]) -> int:
    """The value of operands and operators parted by spaces, taken from left to right."""
    first, *rest = formula.split()
    value = operand(first, numbers=numbers)
    for operator, part in zip(rest[::2], rest[1::2], strict=True):
        value = apply(operator, value, operand(part, numbers=numbers))
    return value


def operand(part: str, *, numbers: dict[str, int]) -> int:
    """A named number, or a number written out."""
    return numbers[part] if part in numbers else int(part)


def apply(operator: str, left: int, right: int) -> int:
    """One arithmetic operation; a division must come out whole."""
    if operator == "/":
        quotient, remainder = divmod(left, right)
        if remainder:
            raise ValueError(f"{left}/{right} is not whole")
        return quotient
    return {"+": left + right, "-": left - right, "*": left * right}[operator]


def cast_of_words(rng: Random) -> dict[str, str]:
    """The people (two different ones, with pronouns) and the things of one problem."""
    name, other = rng.sample((*GIRLS, *BOYS), 2)
    she, her, him = PRONOUNS[name in GIRLS]
    people = {"name": name, "other": other, "she": she, "her": her, "him": him}
    people |= {"She": she.title(), "Her": her.title(), "she2": PRONOUNS[other in GIRLS][0]}
    return people | {pool: rng.choice(words) for pool, words in POOLS.items()}
