"""Reads templates, and fills their texts with wordings and values."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

GIRLS = ("Amara", "Bella", "Chloe", "Dina", "Elif", "Freya", "Hana", "Ines", "Mei", "Priya", "Zoe")
BOYS = ("Arlo", "Bruno", "Dev", "Emil", "Felix", "Hugo", "Ivan", "Kofi", "Luca", "Omar", "Tariq")
NAMES = {"girls": GIRLS, "people": (*GIRLS, *BOYS)}


def read_templates(name: str) -> dict[str, Any]:
    """Read `templates/<name>.toml`."""
    path = Path(__file__).parent / "templates" / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def fill_text(text: str, values: Mapping[str, Any], *, rng: Random) -> str:
    """Choose a text's wordings, fill in its fields, and capitalize its first letter."""
    filled = choose_wordings(text, rng=rng).format_map(values)
    return filled[:1].upper() + filled[1:]


def choose_wordings(text: str, *, rng: Random) -> str:
    """Replace every `[x|y]` in a text with one of its wordings."""
    return re.sub(r"\[([^]]*)]", lambda match: rng.choice(match[1].split("|")), text)


def correct_articles(text: str) -> str:
    """Write "an" before a vowel; no template has an "a" before a u that would need it."""
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)
