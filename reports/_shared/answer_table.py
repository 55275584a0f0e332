"""The table of an answer as data and as HTML: methods in order of block efficiency."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from draftmark.analysis.quantities import quantity_key
from draftmark.reports._shared.content import TableNumber
from draftmark.reports._shared.rows import gamma_of, headline_columns, temperatures_of
from draftmark.results import Contender, Results
from draftmark.text import printable_paragraphs, printable_text

Row = Mapping[str, str | int | TableNumber | None]


def ranked_contenders(results: Results, key: str) -> list[Contender]:
    """Return all contenders, those with the highest mean number over tasks first."""
    values: dict[str, list[float]] = {}
    for contender, numbers in results.numbers.items():
        if key in numbers:
            values.setdefault(contender.method, []).append(numbers[key].value)
    every = dict.fromkeys(row.cell.contender for row in results.results)
    means = {method: statistics.mean(found) for method, found in values.items()}
    return sorted(every, key=lambda item: -means.get(item.method, -math.inf))


def letters_of(contender: Contender, key: str, results: Results) -> str:
    """Return a contender's letters for a quantity; contenders that share one do not differ."""
    return next(
        (s.letters for s in results.standings if (s.contender, s.quantity) == (contender, key)), ""
    )


def table_rows(results: Results) -> list[Row]:
    """Return a row for each contender: names, numbers by heading, letters, number of prompts.

    Columns without any number are left out. None is a missing number.
    """
    temperature, gamma = temperatures_of(results)[0], gamma_of(results)
    key = quantity_key("block_efficiency", temperature, gamma)
    numbers = results.numbers
    columns = {
        column: column.key(gamma)
        for column in headline_columns(temperatures_of(results), [results])
        if any(column.key(gamma) in own for own in numbers.values())
    }
    return [
        {
            **vars(item),
            **{
                column.heading: TableNumber(at, own[at], column.decimals, "interval")
                if at in (own := numbers.get(item, {}))
                else None
                for column, at in columns.items()
            },
            "group": letters_of(item, key, results),
            "prompts": numbers[item][key].n if key in numbers.get(item, {}) else None,
        }
        for item in ranked_contenders(results, key)
    ]


def answer_html(title: str, rows: Sequence[Row], verdict: Sequence[str], paste: str) -> str:
    """Return an answer as HTML without scripts or styles of its own; all text is escaped."""
    header = _line("th", rows[0]) if rows else ""
    body = "".join(_line("td", [str(value or "-") for value in row.values()]) for row in rows)
    parts = [f"<h4>{_escaped(title)}</h4>"]
    parts += [f"<table><thead>{header}</thead><tbody>{body}</tbody></table>"] * bool(rows)
    parts += [f"<p>{_escaped(text)}</p>" for text in verdict]
    if paste:
        parts.append(f"<pre>{escape(printable_paragraphs(paste, len(paste)))}</pre>")
    return "\n".join(parts)


def _line(tag: str, entries: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_escaped(entry)}</{tag}>' for entry in entries)}</tr>"


def _escaped(text: str) -> str:
    return escape(printable_text(text))
