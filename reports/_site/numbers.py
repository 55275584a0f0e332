"""Numbers for a page's script: [value, low, high, n]; low and high are None without an interval.

They have more digits than any page shows.
"""

from draftmark.results import Number


def number_values(number: Number) -> list[float | None]:
    """Return the values of a number."""
    return [rounded(number.value), rounded(number.low), rounded(number.high), number.n]


def known_values(number: Number | None) -> list[float | None] | None:
    """Return the values of a number; None without one."""
    return number_values(number) if number else None


def rounded(value: float | None) -> float | None:
    """Return a value with five decimals, a small one with seven; None stays."""
    return None if value is None else round(value, 5 if abs(value) >= 0.1 else 7)
