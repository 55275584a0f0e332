"""What the generators share: names of people, choices of wording, fields, draws."""

import re
from collections.abc import Mapping
from random import Random
from typing import Any

GIRLS = ("Amara", "Bella", "Chloe", "Dina", "Elif", "Freya", "Hana", "Ines", "Mei", "Priya", "Zoe")
BOYS = ("Arlo", "Bruno", "Dev", "Emil", "Felix", "Hugo", "Ivan", "Kofi", "Luca", "Omar", "Tariq")


def fill(text: str, *, words: Mapping[str, Any], rng: Random) -> str:
    """A text with its wordings chosen and its fields filled, its first letter a capital."""
    return capital(choose(text, rng=rng).format_map(words))


def choose(text: str, *, rng: Random) -> str:
    """Every `[x|y]` of a text replaced with one of its wordings."""
    return re.sub(r"\[([^]]*)]", lambda match: rng.choice(match[1].split("|")), text)


def capital(text: str) -> str:
    """A text with its first letter a capital and the others as they are."""
    return text[:1].upper() + text[1:]


def with_articles(text: str) -> str:
    """A text with "an" for every "a" before a vowel; no u of the generators' words is one."""
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)


def draw(pools: Mapping[str, Any], *, rng: Random) -> dict[str, Any]:
    """One value of each pool; a pool is a choice of strings or a span (low, high) of numbers."""
    return {name: one_of(pool, rng=rng) for name, pool in pools.items()}


def one_of(pool: Any, *, rng: Random) -> Any:
    """A number of a span (low, high), both ends in it, or one item of any other sequence."""
    if len(pool) == 2 and all(isinstance(end, int) for end in pool):
        return rng.randint(*pool)
    return rng.choice(pool)
