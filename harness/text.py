"""Text that comes of data, models or recipes, made harmless for terminals and pages."""

import unicodedata

LONGEST = 2000  # characters of one text in a rendering
_SPACES = str.maketrans({mark: " " for mark in "\n\r\t\v\f\u2028\u2029\x85"})
# Control characters, marks that turn the direction of text, halves of characters, private ones.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn")


def plain(text: str, longest: int = LONGEST) -> str:
    """Return text on one line, of what can be seen, cut where it is long."""
    shown = text[:longest]
    if not shown.isprintable():  # most is, and is quickly told
        shown = "".join(
            "\ufffd" if unicodedata.category(mark) in _UNPRINTABLE else mark
            for mark in shown.translate(_SPACES)
        )
    return shown if len(text) <= longest else f"{shown}… ({len(text)} characters)"


def paragraphs(text: str, longest: int = LONGEST) -> str:
    """Return text of what can be seen, with its line ends, cut where it is long."""
    shown = "\n".join(plain(line, longest) for line in text[:longest].split("\n"))
    return shown if len(text) <= longest else f"{shown}… ({len(text)} characters)"
