"""Sentences and lists of names in plain text."""

from collections.abc import Sequence

NAMES = 3  # names in a list of a sentence


def as_sentence(clause: str) -> str:
    """Return a clause, which starts with no name, as a sentence."""
    return f"{clause[:1].upper()}{clause[1:]}".removesuffix(".") + "."


def first_names(names: Sequence[str]) -> list[str]:
    """Return the first names, and how many more there are."""
    if len(names) <= NAMES:
        return list(names)
    return [*names[: NAMES - 1], f"{len(names) - NAMES + 1} others"]


def listed(names: Sequence[str], most: int = NAMES) -> str:
    """Return names as a list in words; "" without any. More than `most` are cut to the first."""
    if not names:
        return ""
    shown = list(names) if len(names) <= most else first_names(names)
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def all_listed(names: Sequence[str]) -> str:
    """Return all names as a list in words."""
    return listed(names, len(names))
