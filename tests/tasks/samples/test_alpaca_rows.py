"""The answers of the Alpaca-shaped rows are right wherever a law says what right is."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.samples.alpaca_forms import Form
from tasks.samples.alpaca_long_forms import LONG
from tasks.samples.alpaca_more_forms import SHORT
from tasks.samples.alpaca_rows import instruction

FORMS = (*SHORT, *LONG)
SEEDS = st.integers(min_value=0, max_value=2**32)
Row = dict[str, str]


def row_of(form: Form, *, seed: int) -> Row:
    return instruction(form, rng=Random(seed))


def answered_by(output: str) -> list[Form]:
    """The forms whose output begins so."""
    return [form for form in FORMS if form.output.startswith(output)]


def listed(text: str) -> list[str]:
    return text.split(", ")


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def heights(told: str) -> list[str]:
    found = re.findall(r"(\w+) is (\d+) cm", told)
    return [name for name, _ in sorted(found, key=lambda pair: -int(pair[1]))]


def ends(text: str, start: str, length: int) -> bool:
    """Whether a text gives the time so many minutes after another."""
    end = datetime.strptime(start, "%H:%M") + timedelta(minutes=length)
    return f"{end.hour}:{end.minute:02}" in text


def bill_is_right(row: Row) -> bool:
    *prices, total = numbers(row["output"])
    return sum(prices) == total and prices == numbers(row["input"])


def clock_is_right(row: Row) -> bool:
    start, length = re.findall(r"\d+:\d+", row["instruction"])[0], numbers(row["instruction"])[2]
    return ends(row["output"], start, length)


LAWS: dict[str, Callable[[Row], bool]] = {
    "{sorted}": lambda row: listed(row["output"]) == sorted(listed(row["input"])),
    "{reversed}": lambda row: listed(row["output"])[::-1] == listed(row["input"]),
    "{upper}": lambda row: row["output"] == row["input"].upper(),
    "{by_length}": lambda row: listed(row["output"]) == sorted(listed(row["input"]), key=len),
    "{ascending}": lambda row: numbers(row["output"]) == sorted(numbers(row["input"])),
    "{descending}": lambda row: numbers(row["output"])[::-1] == sorted(numbers(row["input"])),
    "[There are {count} words in the list": lambda row: (
        numbers(row["output"]) == [len(listed(row["input"]))]
    ),
    "The sentence has {count}": lambda row: numbers(row["output"]) == [len(row["input"].split())],
    "[Even numbers|": lambda row: (
        numbers(row["output"]) == [number for number in numbers(row["input"]) if number % 2 == 0]
    ),
    "[{a} + {b} = {sum}": lambda row: sum(numbers(row["instruction"])) in numbers(row["output"]),
    "[Start|Begin] with {a}": lambda row: (
        sum(numbers(row["instruction"])) == numbers(row["output"])[2]
    ),
    '{{"name"': lambda row: list(json.loads(row["output"])) == ["name", "age", "town"],
    "[{backwards}": lambda row: row["instruction"].split("'")[1][::-1] in row["output"],
    "{letters}": lambda row: row["output"].replace("-", "") == row["instruction"].split("'")[1],
    "{tallest}, {middle}": lambda row: listed(row["output"]) == heights(row["input"]),
    "{lines}\nTotal": bill_is_right,
    "[It ends at|": clock_is_right,
    "The {what} starts at": clock_is_right,
}


@pytest.mark.parametrize("output", LAWS)
def test_answers_obey_their_law(output: str) -> None:
    rows = [row_of(form, seed=seed) for form in answered_by(output) for seed in range(50)]
    assert rows
    assert [row for row in rows if not LAWS[output](row)] == []


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
