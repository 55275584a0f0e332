"""Titles of methods and tasks."""

import pytest

from draftmark.analysis.titles import method_title


@pytest.mark.parametrize(
    ("label", "title"),
    [
        ("kd", "KD"),
        ("kd, 3 passes", "KD, 3 passes"),
        ("csd (S,S)", "CSD (S,S)"),
        ("kdx", "kdx"),
        ("mine, kd", "mine, kd"),
        ("", ""),
    ],
)
def test_a_label_begins_with_the_title_of_its_method(label: str, title: str) -> None:
    assert method_title(label) == title
