"""What tables say where intervals cover less or more than 93 to 97 of 100, as simulated."""

import re
from collections.abc import Iterator

import pytest
from places import in_repository

from draftmark.reports._shared.coverage import (
    FEW_PROMPTS,
    LONG_TEXTS,
    NEAR_A_BOUND,
    TWO_SEEDS,
    UNLIKE_LENGTHS,
    seeds_note,
    weight_notes,
)
from draftmark.results import Number

LONG, NEAR = "If long texts are accepted otherwise", "Intervals near 0 or 1"
UNLIKE = "Intervals over texts of such unlike lengths"


def rows(section: str) -> Iterator[tuple[str, list[float]]]:
    """Yield the rows of a section of the page, as their text and their numbers."""
    page = in_repository("docs/coverage.md").read_text("utf-8")
    (text,) = re.findall(rf"## {section}\n(.*?)(?=\n## |\Z)", page, re.DOTALL)
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and re.fullmatch(r"0\.\d{3}", cells[-1]):
            numbers = [float(cell) for cell in cells if re.fullmatch(r"[01]\.\d{3}", cell)]
            yield " ".join(cells), numbers


def test_the_numbers_of_the_notes_are_those_of_the_page() -> None:
    found = dict(rows("Rates"))
    six = [numbers for numbers in found.values() if len(numbers) == 6]  # n = 4 to 100
    assert len(six) == 15
    assert round(100 * min(min(numbers) for numbers in six)) == LONG_TEXTS
    lognormal = [found[text][2:] for text in found if text.startswith("lognormal")]  # from n = 16
    assert round(100 * min(min(numbers) for numbers in lognormal if numbers)) == UNLIKE_LENGTHS
    assert 100 * max(max(numbers) for numbers in six) == pytest.approx(NEAR_A_BOUND)
    over = {place for numbers in six for place, share in enumerate(numbers) if share > 0.97}
    assert over <= {0, 1}  # n = 4 and 8
    assert FEW_PROMPTS == 8
    seeds = list(dict(rows("Seeds")).values())
    assert round(100 * min(min(numbers) for numbers in seeds)) == TWO_SEEDS


def test_worlds_of_low_coverage_are_those_that_tables_warn_of() -> None:
    """The effective numbers of the page, of the lengths whose coverage falls below 0.93."""
    page = in_repository("docs/coverage.md").read_text("utf-8")
    effective = {
        name: [float(cell) for cell in cells.split("|")]
        for name, cells in re.findall(r"^\| (equal|lognormal|Pareto) \| ([\d |]+) \|$", page, re.M)
    }
    prompts = (4, 8, 16, 24, 48, 100)
    for text, numbers in rows("Rates"):
        name = text.split()[0]
        for n, weigh, share in zip(prompts, effective.get(name, ()), numbers, strict=False):
            if share < 0.93:
                notes = " ".join(weight_notes([Number(0.5, 0.4, 0.6, n, "", weigh)]))
                assert LONG in notes or (UNLIKE in notes and share > 0.915), (text, n)


@pytest.mark.parametrize(
    ("n", "effective", "said"),
    [
        (100, 100.0, []),
        (100, 90.0, []),
        (100, 80.0, [UNLIKE]),
        (100, 49.0, [LONG]),
        (24, 9.0, [LONG]),
        (16, 9.0, [LONG]),  # too few weigh to tell what is missing
        (16, 15.5, []),
        (9, 9.0, []),
        (8, 8.0, [NEAR]),
        (8, 5.0, [LONG, NEAR]),
        (1, 1.0, []),
    ],
)
def test_a_note_stands_where_coverage_is_not_met(n: int, effective: float, said: list[str]) -> None:
    notes = list(weight_notes([Number(0.5, 0.4, 0.6, n, "", effective)]))
    assert [text for text in (LONG, UNLIKE, NEAR) if any(text in note for note in notes)] == said


def test_only_two_seeds_have_a_note() -> None:
    assert "only 92 of 100" in seeds_note(2)
    assert seeds_note(1) == seeds_note(3) == ""
