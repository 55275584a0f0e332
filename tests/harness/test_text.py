"""Text for people."""

import pytest

from draftmark.text import format_bytes


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
