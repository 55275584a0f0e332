"""Numbers that went through published counts, beside those of the run."""

from collections.abc import Mapping

import pytest

from draftmark.results import Number


def assert_close(numbers: Mapping[str, Number], expected: Mapping[str, Number]) -> None:
    """Compare numbers to the seven digits that published counts keep."""
    assert numbers.keys() == expected.keys()
    for key, number in numbers.items():
        for name, value in vars(number).items():
            other = getattr(expected[key], name)
            equal = pytest.approx(other, rel=1e-6) if isinstance(other, float) else other
            assert value == equal, (key, name)
