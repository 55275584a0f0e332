"""Text that comes of data, models or recipes, made harmless: for CSV and LaTeX."""

from draftmark.text import plain

LONGEST_CELL = 32_000  # in a CSV file: spreadsheets take 32,767
_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the wide ones too
_LATEX = str.maketrans(
    {mark: f"\\{mark}" for mark in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
)


def csv_text(text: str) -> str:
    """Return text that no spreadsheet takes for a formula (OWASP, "CSV injection")."""
    shown = plain(text, LONGEST_CELL)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULAS) else shown


def latex(text: str) -> str:
    """Return text as LaTeX prints it, and does not run it."""
    return plain(text).translate(_LATEX)
