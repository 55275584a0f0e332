"""Reads text that other programs wrote, and makes it safe to print on terminals and pages."""

import codecs
import logging
import unicodedata
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

LONGEST = 2000  # characters of one text in a rendering
_SPACES = str.maketrans({mark: " " for mark in "\n\r\t\v\f\u2028\u2029\x85"})
# Control characters, direction marks, surrogates, private use, unassigned.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn")

_TIMES = ((1, "s", 0), (60, "min", 0), (3600, "h", 1))  # seconds, name, decimals
_UNITS = ("B", "kB", "MB", "GB", "TB")

BYTE_ORDER_MARK = "\ufeff"
# UTF-32's mark of little-endian text begins with that of UTF-16.
_ENCODINGS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def decode_text(data: bytes) -> str:
    """Return the text of a file: UTF-8, or what its byte-order mark says, without that mark.

    Raises UnicodeDecodeError.
    """
    named = (name for mark, name in _ENCODINGS.items() if data.startswith(mark) and data != mark)
    return data.decode(next(named, "utf-8-sig"))


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


def cut_middle(text: str, width: int) -> str:
    """Return text in at most `width` columns of a terminal, "…" for the middle of a longer one."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    end = (width - 1) // 2
    head, tail = set_cell_size(text, width - 1 - end), set_cell_size(text[::-1], end)[::-1]
    return f"{head.rstrip()}…{tail.lstrip()}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1: "1 look", "2 looks"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_bytes(size: float) -> str:
    """Return a number of bytes in powers of 1000 with two digits or more, such as "3.1 MB"."""
    power = 0
    while size >= 999.5 and power < len(_UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.{1 if power and size < 9.95 else 0}f} {_UNITS[power]}"


def format_span(shortest: float, longest: float) -> str:
    """Return a range of seconds such as "40 s", "7 to 12 min" or "1.5 h"."""
    size, unit, decimals = next(item for item in _TIMES if longest < 100 * item[0] or item[2])
    ends = dict.fromkeys(f"{seconds / size:.{decimals}f}" for seconds in (shortest, longest))
    return f"{' to '.join(ends)} {unit}"


def escape_messages() -> None:
    """Make the warnings and log records of libraries printable, which may quote a model's text."""
    if not isinstance(warnings.formatwarning, partial):
        warnings.formatwarning = partial(_printable_warning, warnings.formatwarning)
        logging.setLogRecordFactory(partial(_printable_record, logging.getLogRecordFactory()))


def _printable_warning(plain: Callable[..., str], *facts: Any, **more: Any) -> str:
    text = plain(*facts, **more)
    return printable_paragraphs(text, len(text))


def _printable_record(
    plain: Callable[..., logging.LogRecord], *facts: Any, **more: Any
) -> logging.LogRecord:
    record = plain(*facts, **more)
    text = record.getMessage()
    record.msg, record.args = printable_paragraphs(text, len(text)), ()
    return record
