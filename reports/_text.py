"""Text that comes of data, models or recipes, made harmless: for tables, XML, CSV and LaTeX."""

import unicodedata

LONGEST = 2000  # characters of one text in a rendering
LONGEST_CELL = 32_000  # in a CSV file: spreadsheets take 32,767
_SPACES = str.maketrans({mark: " " for mark in "\n\r\t\v\f\u2028\u2029\x85"})
# Control characters, marks that turn the direction of text, halves of characters, private ones.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn")
_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the wide ones too
_LATEX = str.maketrans(
    {mark: f"\\{mark}" for mark in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
)


def plain(text: str, longest: int = LONGEST) -> str:
    """Return text on one line, of what can be seen, cut where it is long."""
    cut = text[:longest].translate(_SPACES)
    shown = "".join(
        "\ufffd" if unicodedata.category(mark) in _UNPRINTABLE else mark for mark in cut
    )
    return shown if len(text) <= longest else f"{shown}… ({len(text)} characters)"


def csv_text(text: str) -> str:
    """Return text that no spreadsheet takes for a formula (OWASP, "CSV injection")."""
    shown = plain(text, LONGEST_CELL)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULAS) else shown


def latex(text: str) -> str:
    """Return text as LaTeX prints it, and does not run it."""
    return plain(text).translate(_LATEX)
