"""A map of differences as Markdown: methods down, pairs across, each against its baseline.

The first rows are the baselines' own values. A star marks a difference that is significant after
Holm's adjustment over all comparisons of the run.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from draftmark.analysis.significance import LEVEL
from draftmark.analysis.titles import method_title
from draftmark.config.validation import Section
from draftmark.errors import UserError
from draftmark.reports._shared.content import escape_markdown, markdown_table, number_text
from draftmark.reports._shared.rows import group_by
from draftmark.reports._tables.study import quantity_of_column
from draftmark.results import Comparison, Contender, Results

_Compared = tuple[str, str]  # a method, and the method it is compared with


class DifferenceMap(Section):
    """A map: a quantity with its terms, as a table's column, and the task if there are several."""

    quantity: str
    task: str = ""


def difference_map(results: Results, declared: DifferenceMap) -> str:
    """Return the map; raises UserError if no methods are compared by the quantity.

    Methods stand in the order of their mean difference over pairs, the largest first.
    """
    found = _comparisons(results, declared)
    if not found:
        raise UserError(f"No methods are compared by {declared.quantity!r}.")
    pairs = list(dict.fromkeys(item.contender.pair for item in found))
    by_line = group_by(found, lambda item: (item.contender.method, item.against))
    ranked = sorted(by_line, key=lambda line: -fmean(i.difference.value for i in by_line[line]))
    against = list(dict.fromkeys(item.against for item in found))
    body = [
        *(_baseline(results, declared, found[0], name, pairs) for name in against),
        *(_line(line, by_line[line], pairs, len(against) > 1) for line in ranked),
    ]
    header = ["method", *(escape_markdown(pair) for pair in pairs)]
    return markdown_table(header, body, "l" + "r" * len(pairs))


def _comparisons(results: Results, declared: DifferenceMap) -> list[Comparison]:
    key = quantity_of_column(results, declared.quantity)
    found = [item for item in results.comparisons if item.quantity == key]
    task = declared.task or (found[0].contender.task if found else "")
    return [item for item in found if item.contender.task == task]


def _baseline(
    results: Results, declared: DifferenceMap, any_of: Comparison, name: str, pairs: Sequence[str]
) -> list[str]:
    """Return the row of a baseline's own values."""
    key = quantity_of_column(results, declared.quantity)
    numbers = [
        results.numbers.get(Contender(any_of.contender.task, pair, name), {}).get(key)
        for pair in pairs
    ]
    return [f"{escape_markdown(method_title(name))} itself", *map(number_text, numbers)]


def _line(
    line: _Compared, items: Sequence[Comparison], pairs: Sequence[str], named: bool
) -> list[str]:
    """Return the row of a method's differences; `named` adds what they are from."""
    method, against = (escape_markdown(method_title(name)) for name in line)
    by_pair: Mapping[str, Comparison] = {item.contender.pair: item for item in items}
    cells = [_cell(by_pair[pair]) if pair in by_pair else "-" for pair in pairs]
    return [f"{method} minus {against}" if named else method, *cells]


def _cell(item: Comparison) -> str:
    difference = item.difference
    sign = "+" if difference.value > 0 else ""
    star = " \\*" if item.adjusted_p < LEVEL else ""
    return f"{sign}{number_text(difference)}{star}"
