"""Generates arithmetic word problems in GSM8K's columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from draftmark.tasks.samples.expressions import Rule, draw_values, evaluate
from draftmark.tasks.samples.wording import NAMES, choose_wordings, fill_text, read_templates


@dataclass(frozen=True)
class Problem:
    """A kind of problem; `templates/word_problems.toml` explains the fields."""

    numbers: Mapping[str, Rule]
    questions: Sequence[str]
    steps: Sequence[tuple[str, str, str]]


TEMPLATES = read_templates("word_problems")
PROBLEMS = [Problem(**problem) for problem in TEMPLATES["problems"]]


def generate_gsm8k_rows(seed: int) -> Iterator[dict[str, str]]:
    """Yield rows without end, the same for the same seed."""
    rng = Random(seed)
    while True:
        yield fill_problem(rng.choice(PROBLEMS), rng=rng)


def fill_problem(problem: Problem, *, rng: Random) -> dict[str, str]:
    """Return one question and its worked answer."""
    numbers = draw_values(problem.numbers, {}, rng=rng)
    words = draw_values(TEMPLATES["words"], NAMES, rng=rng)
    question = fill_text(rng.choice(problem.questions), words | numbers, rng=rng)
    lines = []
    for result, step, line in problem.steps:
        formula = choose_wordings(step, rng=rng)
        value = numbers[result] = evaluate_whole(formula, numbers)
        written = "".join(str(numbers.get(part, part)) for part in formula.split())
        sums = {
            "work": f"{written} = <<{written}={value}>>{value}",
            "cash": f"${written} = $<<{written}={value}>>{value}",
        }
        lines.append(fill_text(line, words | sums | numbers, rng=rng))
    return {"question": question, "answer": "\n".join([*lines, f"#### {value}"])}


def evaluate_whole(formula: str, numbers: Mapping[str, int]) -> int:
    """Evaluate a formula exactly; raise ValueError unless the value is whole."""
    exact = {name: Fraction(number) for name, number in numbers.items()}
    value = Fraction(evaluate(formula, exact))
    if value.denominator != 1:
        raise ValueError(f"{formula} = {value} is not whole")
    return int(value)
