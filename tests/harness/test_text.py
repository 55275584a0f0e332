"""Text for people."""

import pytest

from draftmark.text import cut_middle, format_bytes


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (9_960_000, "10 MB"),
        (999_600, "1.0 MB"),
        (131_055_505_408, "131 GB"),
        (2e12, "2.0 TB"),
        (1e16, "10000 TB"),
    ],
)
def test_bytes_have_the_unit_with_the_fewest_digits(size: float, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 5, "short"),
        ("a long name", 5, "a…me"),
        ("distillspec, half on-policy", 13, "distil…policy"),
        ("模型模型", 8, "模型模型"),
        ("模型模型模型", 8, "模型…型"),
    ],
)
def test_the_middle_of_a_long_text_is_cut_by_columns(text: str, width: int, shown: str) -> None:
    assert cut_middle(text, width) == shown
