"""Tests that answers are right, wherever a rule can check them, and that texts are complete."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.tasks.samples.instructions import LONG, SHORT, Form, fill_form

FORMS = (*SHORT, *LONG)
SEEDS = st.integers(min_value=0, max_value=2**32)
Row = dict[str, str]


def row_of(form: Form, *, seed: int) -> Row:
    return fill_form(form, rng=Random(seed))


def answered_by(output: str) -> list[Form]:
    """Return the forms whose output starts so."""
    return [form for form in FORMS if form.output.startswith(output)]


def items_in(text: str) -> list[str]:
    return text.split(", ")


def numbers_in(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def names_by_height(text: str) -> list[str]:
    found = re.findall(r"(\w+) is (\d+) cm", text)
    return [name for name, _ in sorted(found, key=lambda pair: -int(pair[1]))]


def names_end(text: str, start: str, length: int) -> bool:
    """Return whether a text names the time `length` minutes after `start`."""
    end = datetime.strptime(start, "%H:%M") + timedelta(minutes=length)
    return f"{end.hour}:{end.minute:02}" in text


def bill_is_right(row: Row) -> bool:
    *prices, total = numbers_in(row["output"])
    return sum(prices) == total and prices == numbers_in(row["input"])


def clock_is_right(row: Row) -> bool:
    start = re.findall(r"\d+:\d+", row["instruction"])[0]
    length = numbers_in(row["instruction"])[2]
    return names_end(row["output"], start, length)


CHECKS: dict[str, Callable[[Row], bool]] = {
    "{alphabetical}": lambda row: items_in(row["output"]) == sorted(items_in(row["input"])),
    "{in_reverse}": lambda row: items_in(row["output"])[::-1] == items_in(row["input"]),
    "{upper}": lambda row: row["output"] == row["input"].upper(),
    "{by_length}": lambda row: items_in(row["output"]) == sorted(items_in(row["input"]), key=len),
    "{ascending}": lambda row: numbers_in(row["output"]) == sorted(numbers_in(row["input"])),
    "{descending}": lambda row: numbers_in(row["output"])[::-1] == sorted(numbers_in(row["input"])),
    "[There are {count} words in the list": lambda row: (
        numbers_in(row["output"]) == [len(items_in(row["input"]))]
    ),
    "The sentence has {count}": lambda row: (
        numbers_in(row["output"]) == [len(row["input"].split())]
    ),
    "[Even numbers|": lambda row: (
        numbers_in(row["output"])
        == [number for number in numbers_in(row["input"]) if number % 2 == 0]
    ),
    "[{a} + {b} = {total}": lambda row: (
        sum(numbers_in(row["instruction"])) in numbers_in(row["output"])
    ),
    "[Start|Begin] with {a}": lambda row: (
        sum(numbers_in(row["instruction"])) == numbers_in(row["output"])[2]
    ),
    '{{"name"': lambda row: list(json.loads(row["output"])) == ["name", "age", "town"],
    "[{backwards}": lambda row: row["instruction"].split("'")[1][::-1] in row["output"],
    "{letters}": lambda row: row["output"].replace("-", "") == row["instruction"].split("'")[1],
    "{tallest}, {middle}": lambda row: items_in(row["output"]) == names_by_height(row["input"]),
    "{lines}\nTotal": bill_is_right,
    "[It ends at|": clock_is_right,
    "The {what} starts at": clock_is_right,
}


@pytest.mark.parametrize("output", CHECKS)
def test_answers_pass_their_check(output: str) -> None:
    rows = [row_of(form, seed=seed) for form in answered_by(output) for seed in range(50)]
    assert rows
    assert [row for row in rows if not CHECKS[output](row)] == []


def test_translations_there_and_back_agree() -> None:
    (there,), (back,) = answered_by("{tolan}"), answered_by("{english}")
    for seed in range(50):
        row = row_of(there, seed=seed)
        words = dict(zip(row["input"].split(), row["output"].split(), strict=True))
        assert len(words) >= 4
        assert row_of(back, seed=seed)["input"] == row["output"]
        assert row_of(back, seed=seed)["output"] == row["input"]


@given(form=st.sampled_from(FORMS), seed=SEEDS)
def test_no_wording_choice_or_field_is_left_open(form: Form, seed: int) -> None:
    for text in row_of(form, seed=seed).values():
        assert not re.search(r"[\[\]|]|  | [.,?!]|\n\n", text)
        assert text.startswith("{") or not re.search("[{}]", text)


@given(form=st.sampled_from(FORMS), seed=SEEDS)
def test_articles_agree_with_the_nouns_they_precede(form: Form, seed: int) -> None:
    text = " ".join(row_of(form, seed=seed).values()).lower()
    assert not re.search(r"\ba [aeio]|\ban [^aeio]", text)


def test_forms_are_many() -> None:
    assert len(FORMS) >= 40
