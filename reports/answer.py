"""The answer of a run in a few lines of plain text: the ranking, the verdict, and its limits.

It fits into 80 columns, and into the last lines of a terminal. With several tasks the table shows
block efficiency at one temperature, a column for each task.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
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
from draftmark.reports._shared.handover import advised, paste_lines, paste_script
from draftmark.reports._shared.rows import (
    by_task_and_pair,
    gamma_of,
    speedup_gammas,
    temperatures_of,
)
from draftmark.reports._shared.verdict import limits_of, overall_verdict, verdicts
from draftmark.results import Contender, Results
from draftmark.text import printable_text

WIDTH = 80  # columns of a terminal
LINES = 11  # of the answer; what `draftmark run` prints after it takes three more
SHOWN = (3, 6)  # methods in the table, at least (less one with lines to paste) and at most


@dataclass(frozen=True)
class Answer:
    """The report of a run's answer, and its parts as data."""

    def __call__(self, results: Results, directory: Path) -> dict[str, str]:
        """Return answer.txt."""
        return {"answer.txt": _text(results, directory)}

    def verdict(self, results: Results, directory: Path) -> list[str]:
        """Return the verdict, then what the run cannot say."""
        found = overall_verdict(verdicts(results, directory))
        return [printable_text(text) for text in (found, *limits_of(results))]

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
    boards = list(by_task_and_pair(results.results))
    found = verdicts(results, directory)
    parts = Answer().verdict(results, directory)
    lines = [line for part in parts for line in wrap(part, WIDTH)]
    paste = paste_lines(advised(results, directory, found, results.results), WIDTH)
    lines += paste
    room = LINES - len(lines) - 4  # title, header, rule, and how many methods are left out
    shown = min(max(room, SHOWN[0] - bool(paste)), SHOWN[1])
    table = _matrix(results, shown) if len(boards) > 1 else _ranking(results, shown)
    return "\n".join([printable_text(results.title), *table, *lines]) + "\n"


def _ranking(results: Results, shown: int) -> list[str]:
    """Return the table of a single task: methods in order of block efficiency."""
    temperature, gamma = temperatures_of(results)[0], gamma_of(results)
    key = quantity_key("block_efficiency", temperature, gamma)
    lengths = " or ".join(map(str, sorted(speedup_gammas(results.results))))
    header = ["method", f"block efficiency, T={temperature:g}"]
    header += [f"speedup, {lengths} drafted"] if lengths else []
    body = []
    for contender in ranked_contenders(results, key)[:shown]:
        numbers = results.numbers.get(contender, {})
        row = [contender.method, number_text(numbers.get(key), 2)]
        row += [number_text(numbers.get("speedup"), 2)] if lengths else []
        body.append([*row, letters_of(contender, key, results)])
    return _table([*header, "group"], body, len(results.numbers))


def _matrix(results: Results, shown: int) -> list[str]:
    """Return the table of several tasks: block efficiency with the group's letter."""
    temperature = temperatures_of(results)[0]
    key = quantity_key("block_efficiency", temperature, gamma_of(results))
    places = [(task, pair) for task, pair, _ in by_task_and_pair(results.results)]
    several_pairs = len({pair for _, pair in places}) > 1
    methods = list(dict.fromkeys(item.method for item in ranked_contenders(results, key)))
    body = []
    for method in methods[:shown]:
        contenders = [Contender(task, pair, method) for task, pair in places]
        body.append([method, *(_entry(item, key, results) for item in contenders)])
    header = [f"{task}, {pair}" if several_pairs else task for task, pair in places]
    return _table([f"tokens per pass, T={temperature:g}", *header], body, len(methods))


def _entry(contender: Contender, key: str, results: Results) -> str:
    number = results.numbers.get(contender, {}).get(key)
    if number is None:
        return "-"
    return f"{number.value:.2f} {letters_of(contender, key, results)}".rstrip()


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], methods: int) -> list[str]:
    """Return the lines of a table, the last with how many of all methods it leaves out."""
    table = Table(*header, box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*(Text(printable_text(entry)) for entry in row))
    file = io.StringIO()
    Console(file=file, width=WIDTH, color_system=None, force_jupyter=False).print(table)
    left_out = methods - len(rows)
    more = [f"and {left_out} more in the leaderboard"] if left_out else []
    return [line.rstrip() for line in file.getvalue().splitlines()] + more


REPORT = Answer()
