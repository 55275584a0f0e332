"""A table of a run in LaTeX, with booktabs: text at 8 pt, intervals at 7 pt.

Intervals stand below their numbers, in a table of one column beside them. No table is scaled: one
of too many columns is split.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from draftmark.analysis.titles import method_title
from draftmark.reports._tables.grids import Column, Grid
from draftmark.text import printable_text

WIDE = 6  # columns of numbers on a page of 5.5 inches
LONG = 24  # rows on a page, each with its intervals below
NARROW = 3  # columns of numbers in one of two text columns
_LATEX = str.maketrans(
    {mark: f"\\{mark}" for mark in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
)


def latex_tables(grid: Grid) -> Iterator[str]:
    """Yield the tables of a grid, each of which fits a page."""
    rows = LONG * (2 if len(grid.columns) == 1 else 1)
    yield from map(latex_table, grid.split(WIDE, rows))


def latex_table(grid: Grid) -> str:
    """Return a table environment; `table*` if it needs the width of the page."""
    num_columns = len(grid.columns)
    kind = "table*" if num_columns > NARROW else "table"
    return "\n".join(
        [
            f"\\begin{{{kind}}}[t]",
            "\\centering\\footnotesize\\setlength{\\tabcolsep}{4pt}\\setlength{\\belowcaptionskip}{4pt}",
            f"\\caption{{{_escaped(grid.full_title)}. {_escaped(grid.note)}}}",
            f"\\label{{{grid.label}}}",
            f"\\begin{{tabular}}{{l{'r' * num_columns}}}",
            "\\toprule",
            *_header(grid.columns),
            *_blocks(grid),
            "\\bottomrule",
            "\\end{tabular}",
            f"\\end{{{kind}}}",
        ]
    )


def _header(columns: Sequence[Column]) -> Iterator[str]:
    """Yield the lines of the header: what stands over several columns, then their titles."""
    if any(column.over for column in columns):
        cells, rules, place = [""], [], 2
        for over, group in groupby(columns, key=lambda column: column.over):
            width = len(list(group))
            cells.append(f"\\multicolumn{{{width}}}{{c}}{{{_escaped(over)}}}")
            rules.append(f"\\cmidrule(lr){{{place}-{place + width - 1}}}")
            place += width
        yield " & ".join(cells) + r" \\"
        yield " ".join(rules)
    yield " & ".join(["", *(_escaped(column.title) for column in columns)]) + r" \\"


def _blocks(grid: Grid) -> Iterator[str]:
    """Yield the rows of each block under its title."""
    for block in grid.blocks:
        yield "\\midrule"
        if len(grid.blocks) > 1:
            width = len(block.columns) + 1
            yield f"\\multicolumn{{{width}}}{{l}}{{\\emph{{{_escaped(block.title)}}}}} \\\\"
        for method in grid.methods:
            yield from _rows(block.columns, method)


def _rows(columns: Sequence[Column], method: str) -> Iterator[str]:
    """Yield a method's numbers and its intervals: one row in a table of one column, else two."""
    name, values = _escaped(method_title(method)), [_value(column, method) for column in columns]
    intervals = [_interval(column, method) for column in columns]
    if len(columns) == 1:
        yield f"{name} & {values[0]} {intervals[0]}".rstrip() + r" \\"
        return
    yield " & ".join([name, *values]) + r" \\"
    if any(intervals):
        yield " & ".join(["", *intervals]) + r" \\[2pt]"


def _value(column: Column, method: str) -> str:
    number = column.numbers.get(method)
    if number is None:
        return "failed" if method in column.failed else "-"
    text = f"{number.value * column.scale:.2f}"
    return f"\\textbf{{{text}}}" if method in column.bold else text


def _interval(column: Column, method: str) -> str:
    number = column.numbers.get(method)
    if number is None or number.low is None or number.high is None:
        return ""
    ends = f"{number.low * column.scale:.2f}, {number.high * column.scale:.2f}"
    return f"{{\\scriptsize [{ends}]}}"


def _escaped(text: str) -> str:
    return printable_text(text).translate(_LATEX)
