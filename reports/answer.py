"""The answer of a run in a few lines of plain text: the ranking, the verdict, and its limits.

It fits into 80 columns and 12 lines, so a small terminal shows all of it. With several tasks the
table shows block efficiency at one temperature, a column for each task. The table's last line
counts what is left out: methods, columns and sentences, never an alarm or the gravest limit.
"""

# In short: The answer of a run in a few lines of plain text.

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from draftmark.analysis.quantities import quantity_key
from draftmark.reports._shared.answer_table import (
    Row,
    answer_html,
    letters_of,
    ranked_contenders,
    table_rows,
)
from draftmark.reports._shared.content import number_text
from draftmark.reports._shared.handover import advised, export_lines, paste_lines, paste_script
from draftmark.reports._shared.rows import (
    by_task_and_pair,
    gamma_of,
    speedup_gammas,
    temperatures_of,
)
from draftmark.reports._shared.sentences import all_listed
from draftmark.reports._shared.verdict import (
    Verdict,
    alarm,
    brief_limits,
    limits_of,
    overall_sentences,
    overall_verdict,
    verdicts,
)
from draftmark.results import Contender, Results
from draftmark.text import cut_middle, printable_text

WIDTH = 80  # columns of a terminal
LINES = 12  # of the answer at most; what `draftmark run` prints after it takes two more
SHOWN = (3, 6)  # methods in the table: at least, if there are as many, and at most
LONGEST_NAME = 26  # columns of a method's name; the middle of a longer one is left out
_AROUND = 2  # lines: title, header
_GAP = 2  # columns between two of the table
Table = tuple[list[str], list[list[str]]]  # header, rows


@dataclass(frozen=True)
class Answer:
    """The report of a run's answer, and its parts as data."""

    def __call__(self, results: Results, directory: Path) -> dict[str, str]:
        """Return answer.txt."""
        return {"answer.txt": _text(results, directory)}

    def verdict(self, results: Results, directory: Path) -> list[str]:
        """Return the verdict, then what the run cannot say."""
        found = overall_verdict(verdicts(results, directory))
        return [printable_text(text) for text in (*alarm(results), found, *limits_of(results))]

    def paste(self, results: Results, directory: Path) -> str:
        """Return what to paste into a shell, with comments; empty if there is nothing."""
        found = verdicts(results, directory)
        return paste_script(results, advised(results, directory, found, results.results))

    def table(self, results: Results) -> list[Row]:
        """Return a row of the table for each task, pair and method, in order of the ranking."""
        return table_rows(results)

    def html(self, results: Results, directory: Path) -> str:
        """Return title, table, verdict and what to paste as HTML for a notebook."""
        verdict, paste = self.verdict(results, directory), self.paste(results, directory)
        return answer_html(results.title, self.table(results), verdict, paste)


def _text(results: Results, directory: Path) -> str:
    found = verdicts(results, directory)
    methods = len({row.cell.method for row in results.results})
    most = LINES - _AROUND - min(methods, SHOWN[0] + 1)  # lines of sentences, and to paste
    sentences, unsaid = _sentences(results, found, most)
    advice = advised(results, directory, found, results.results)
    # What to paste is in the leaderboard, too; what a run cannot say must be read here.
    forms = [paste_lines(advice, WIDTH), export_lines(advice, WIDTH), []]
    paste = next((form for form in forms if len(sentences) + len(form) <= most), [])
    lines = [*sentences, *paste]
    table = _table_of(results, LINES - _AROUND - len(lines), unsaid)
    title = cut_middle(printable_text(results.title), WIDTH)
    return "\n".join([title, *table, *lines]) + "\n"


def _sentences(results: Results, found: Sequence[Verdict], most: int) -> tuple[list[str], int]:
    """Return the verdict and its limits in `most` lines, and how many sentences are left out.

    Limits become brief, and the longest give way before any of the verdict; the gravest stays.
    """
    verdict, limits = [*alarm(results), *overall_sentences(found)], list(limits_of(results))
    if len(_paragraph([*verdict, *limits])) > most:
        limits = list(brief_limits(results))
    unsaid = 0
    while len(lines := _paragraph([*verdict, *limits])) > most and len(verdict) > 1:
        if len(limits) > 1:
            limits.remove(max(limits[1:], key=len))
        else:
            verdict.pop()
        unsaid += 1
    return lines, unsaid


def _paragraph(sentences: Sequence[str]) -> list[str]:
    return wrap(printable_text(" ".join(sentences)), WIDTH)


def _table_of(results: Results, room: int, unsaid: int) -> list[str]:
    """Return the table in header, rule and `room` lines; the last counts what is left out.

    `unsaid` is how many sentences are left out.
    """
    several = len(list(by_task_and_pair(results.results))) > 1
    header, body = _matrix(results) if several else _ranking(results)
    shown = len(body)
    if shown > SHOWN[1] or shown + bool(unsaid) > room:
        shown = max(min(room - 1, SHOWN[1]), 1)
    columns = _fitting(header, body[:shown])
    left_out = {
        "method": len(body) - shown,
        "column": len(header) - columns,
        "sentence": unsaid,
    }
    more = [f"{n} {name}{'s' * (n > 1)}" for name, n in left_out.items() if n]
    lines = _table([row[:columns] for row in (header, *body[:shown])])
    return [*lines, f"and {all_listed(more)} more in the leaderboard"] if more else lines


def _ranking(results: Results) -> Table:
    """Return the table of a single task: methods in order of block efficiency."""
    temperature, gamma = temperatures_of(results)[0], gamma_of(results)
    key = quantity_key("block_efficiency", temperature, gamma)
    lengths = " or ".join(map(str, sorted(speedup_gammas(results.results))))
    header = ["method", f"block efficiency, T={temperature:g}"]
    header += [f"speedup, {lengths} drafted"] if lengths else []
    body = []
    for contender in ranked_contenders(results, key):
        numbers = results.numbers.get(contender, {})
        row = [contender.method, number_text(numbers.get(key), 2)]
        row += [number_text(numbers.get("speedup"), 2)] if lengths else []
        body.append([*row, letters_of(contender, key, results)])
    return [*header, "group"], body


def _matrix(results: Results) -> Table:
    """Return the table of several tasks: block efficiency with the group's letter, and speedups."""
    temperature = temperatures_of(results)[0]
    key = quantity_key("block_efficiency", temperature, gamma_of(results))
    places = [(task, pair) for task, pair, _ in by_task_and_pair(results.results)]
    several_pairs = len({pair for _, pair in places}) > 1
    methods = list(dict.fromkeys(item.method for item in ranked_contenders(results, key)))
    timed = bool(speedup_gammas(results.results))
    body = []
    for method in methods:
        contenders = [Contender(task, pair, method) for task, pair in places]
        entries = [_entry(item, key, results) for item in contenders]
        body.append([method, *entries, *[_speedups(contenders, results)] * timed])
    header = [f"{task}, {pair}" if several_pairs else task for task, pair in places]
    return [f"tokens per pass, T={temperature:g}", *header, *["speedup"] * timed], body


def _entry(contender: Contender, key: str, results: Results) -> str:
    number = results.numbers.get(contender, {}).get(key)
    if number is None:
        return "-"
    return f"{number.value:.2f} {letters_of(contender, key, results)}".rstrip()


def _speedups(contenders: Sequence[Contender], results: Results) -> str:
    """Return the range of a method's speedups over tasks."""
    known = [
        own["speedup"].value
        for item in contenders
        if "speedup" in (own := results.numbers.get(item, {}))
    ]
    ends = dict.fromkeys(f"{end:.2f}" for end in (min(known), max(known))) if known else ["-"]
    return " to ".join(ends)


def _fitting(header: Sequence[str], body: Sequence[Sequence[str]]) -> int:
    """Return how many columns fit beside each other, two at least."""
    widths = [max(map(cell_len, column)) for column in zip(header, *body, strict=True)]
    widths[0] = max(cell_len(header[0]), min(widths[0], LONGEST_NAME))
    fit = (n for n in range(len(widths), 2, -1) if sum(widths[:n]) + _GAP * (n - 1) <= WIDTH)
    return next(fit, 2)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose first row is the header."""
    header, *body = rows
    table = RichTable(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for name in header:
        table.add_column(Text(printable_text(name)))
    for column in table.columns:
        column.no_wrap, column.justify = True, "right"
    table.columns[0].justify = "left"
    for name, *entries in body:
        shown = (cut_middle(printable_text(name), LONGEST_NAME), *map(printable_text, entries))
        table.add_row(*map(Text, shown))
    file = io.StringIO()
    Console(file=file, width=WIDTH, color_system=None, force_jupyter=False).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]


REPORT = Answer()
