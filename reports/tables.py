"""Tables for papers in LaTeX (booktabs) and Markdown: methods are rows, tasks are columns.

A number is bold if its method is significantly better than every other method of the task and pair.
"""

# In short: Tables for papers in LaTeX (booktabs) and Markdown.

from collections.abc import Iterator, Sequence
from pathlib import Path

from draftmark.analysis.titles import method_title
from draftmark.reports._shared.content import escape_markdown, markdown_table
from draftmark.reports._tables.grids import Column, Grid, rate_grids, speed_grids
from draftmark.reports._tables.latex import latex_tables
from draftmark.results import Results


def tables(results: Results, directory: Path) -> dict[str, str]:
    """Return tables.md and tables.tex; raises UserError if acceptance tables are missing."""
    title = escape_markdown(results.title)
    if not results.results:
        return {
            "tables.md": f"# {title}: tables\n\nThe run has no results.\n",
            "tables.tex": "% The run has no results.\n",
        }
    grids = [*rate_grids(results, directory), *speed_grids(results)]
    markdown = "\n\n".join([f"# {title}: tables", *map(_markdown, grids)])
    latex = "\n\n".join(table for grid in grids for table in latex_tables(grid))
    return {
        "tables.md": f"{markdown}\n",
        "tables.tex": f"% Needs \\usepackage{{booktabs}}.\n{latex}\n",
    }


def _markdown(grid: Grid) -> str:
    parts = [f"## {grid.full_title}"]
    for block in grid.blocks:
        header = [block.title, *(_heading(column) for column in block.columns)]
        parts.append(markdown_table([*map(escape_markdown, header)], _rows(grid, block.columns)))
    return "\n\n".join([*parts, escape_markdown(grid.note)])


def _heading(column: Column) -> str:
    return f"{column.over}, {column.title}" if column.over else column.title


def _rows(grid: Grid, columns: Sequence[Column]) -> Iterator[list[str]]:
    for method in grid.methods:
        yield [
            escape_markdown(method_title(method)),
            *(_entry(column, method) for column in columns),
        ]


def _entry(column: Column, method: str) -> str:
    number = column.numbers.get(method)
    if number is None:
        return "failed" if method in column.failed else "-"
    value = f"{number.value * column.scale:.2f}"
    value = f"**{value}**" if method in column.bold else value
    if number.low is None or number.high is None:
        return value
    return f"{value} [{number.low * column.scale:.2f}, {number.high * column.scale:.2f}]"


REPORT = tables
