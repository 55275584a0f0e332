"""Makes text from data, models or recipes safe to print on terminals and pages."""

import unicodedata

LONGEST = 2000  # characters of one text in a rendering
_SPACES = str.maketrans({mark: " " for mark in "\n\r\t\v\f\u2028\u2029\x85"})
# Control characters, direction marks, surrogates, private use, unassigned.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn")


def printable_text(text: str, longest: int = LONGEST) -> str:
    """Return text as one printable line, cut to `longest` characters."""
    shown = text[:longest]
    if not shown.isprintable():  # most text is printable: a fast path
        shown = "".join(
            "\ufffd" if unicodedata.category(mark) in _UNPRINTABLE else mark
            for mark in shown.translate(_SPACES)
        )
    return shown if len(text) <= longest else f"{shown}… ({len(text)} characters)"


def printable_paragraphs(text: str, longest: int = LONGEST) -> str:
    """Return printable text with its line breaks, cut to `longest` characters."""
    shown = "\n".join(printable_text(line, longest) for line in text[:longest].split("\n"))
    return shown if len(text) <= longest else f"{shown}… ({len(text)} characters)"
