"""A table of a study as Markdown, from a declaration of a few lines: a row for each method.

A column is a quantity with its terms, as in "block_efficiency t=1 verification=block": of numbers
with a temperature it is the recipe's block length. Block efficiency has the group letters. Speeds
and costs of several seeds are geometric means over seeds; "train_s" and "flops" are means.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Annotated

from pydantic import Field

from draftmark.analysis.expected_speed import DEFINITIONS as EXPECTED
from draftmark.analysis.predicted_speedup import DEFINITIONS as PREDICTED
from draftmark.analysis.quantities import quantity_key
from draftmark.analysis.summary import speed_of_seeds
from draftmark.analysis.titles import method_title
from draftmark.config.validation import Section
from draftmark.errors import UserError, unknown_name_error
from draftmark.reports._shared.content import escape_markdown, markdown_table, number_text
from draftmark.reports._shared.rows import gamma_of
from draftmark.results import Contender, Number, Results, Standing
from draftmark.types import Verification

_DECIMALS = {"acceptance_rate": 3, "expected_acceptance_rate": 3, "cost_ratio": 3}
_LEDGER = {"train_s": "training, s", "flops": "training, FLOPs"}
_HEADINGS = {
    "cost_ratio": "cost c of a drafted token",
    "speedup": "measured speedup",
    **_LEDGER,
}
_OF_SPEED = ("speedup", *EXPECTED, *PREDICTED)  # their keys have a speed condition


_TERM = r" t=\d+(\.\d+)?| gamma=\d{1,3}| draft=\w+| verification=\w+"
_Column = Annotated[str, Field(pattern=rf"^\w+({_TERM})*$")]


class Declaration(Section):
    """A table: its columns, its methods, and the task and pair if there are several."""

    columns: Annotated[tuple[_Column, ...], Field(min_length=1)]
    methods: Mapping[str, str] = {}  # the names of rows by the methods' labels; {} has all methods
    headings: Mapping[str, str] = {}  # by column; the others are named by what they are
    task: str = ""
    pair: str = ""


def study_table(results: Results, declared: Declaration) -> str:
    """Return the table; raises UserError for a column that no method has.

    Methods stand in the order of the first column, the highest first.
    """
    contenders = _contenders(results, declared)
    columns = [_column(results, name) for name in declared.columns]
    rows = {item: [column(item) for column in columns] for item in contenders}
    for place, name in enumerate(declared.columns):
        if not any(cells[place] for cells in rows.values()):
            raise UserError(f"No method has a number for the column {name!r}.")
    first = {item: _value(results, declared.columns[0], item) for item in contenders}
    ranked = sorted(contenders, key=lambda item: -first[item])
    names = declared.methods or {it.method: method_title(it.method) for it in contenders}
    header = [declared.headings.get(name) or _heading(name) for name in declared.columns]
    body = [
        [escape_markdown(names[item.method]), *(cell or "-" for cell in rows[item])]
        for item in ranked
    ]
    return markdown_table(["method", *header], body, "l" + "r" * len(columns))


def _contenders(results: Results, declared: Declaration) -> list[Contender]:
    known = list(dict.fromkeys(row.cell.contender for row in results.results))
    task, pair = declared.task or known[0].task, declared.pair or known[0].pair
    found = [item for item in known if (item.task, item.pair) == (task, pair)]
    if not found:
        places = [f"{item.task}, {item.pair}" for item in dict.fromkeys(known)]
        raise unknown_name_error("task and pair", f"{task}, {pair}", places)
    labels = [item.method for item in found]
    if unknown := sorted(declared.methods.keys() - {*labels}):
        raise unknown_name_error("method", unknown[0], labels)
    return [item for item in found if item.method in (declared.methods or labels)]


def _heading(name: str) -> str:
    quantity, *terms = name.split()
    title = _HEADINGS.get(quantity) or quantity.replace("_", " ")
    return ", ".join([title, *(_term(term) for term in terms)])


def _term(term: str) -> str:
    name, _, value = term.partition("=")
    return f"T={value}" if name == "t" else f"{value} {name}"


def _column(results: Results, name: str) -> Callable[[Contender], str]:
    """Return the function that writes a contender's cell of a column; "" without a number."""
    quantity = name.split()[0]
    if quantity in _LEDGER:
        return lambda item: _ledger(results, quantity, item)
    letters = {item.contender: item.letters for item in _standings(results, name)}

    def cell(item: Contender) -> str:
        number = _number(results, name, item)
        text = number_text(number, _DECIMALS.get(quantity, 2)) if number else ""
        return f"{text} {letters[item]}" if number and item in letters else text

    return cell


def _standings(results: Results, name: str) -> Iterator[Standing]:
    key = quantity_of_column(results, name)
    for item in (*results.standings, *results.block_standings):
        if item.quantity == key:
            yield item


def quantity_of_column(results: Results, name: str) -> str:
    """Return the key of a column's quantity at the recipe's block length."""
    quantity, *terms = name.split()
    named = dict(term.split("=", 1) for term in terms)
    if "t" not in named:
        return quantity
    gamma = int(named.get("gamma", gamma_of(results)))
    rule: Verification = "block" if named.get("verification") == "block" else "standard"
    temperature = float(named["t"])
    key = quantity_key(quantity, temperature, gamma, draft=named.get("draft"), verification=rule)
    # At temperature 0 both rules accept the same, and only one number is stored.
    return key.replace(",verification=block", "") if not temperature else key


def _number(results: Results, name: str, contender: Contender) -> Number | None:
    key, quantity = quantity_of_column(results, name), name.split()[0]
    numbers = results.numbers.get(contender, {})
    if key in numbers:
        return numbers[key]
    # A draft whose blocks both rules accept alike has the standard number.
    if quantity not in _OF_SPEED:
        return numbers.get(key.replace(",verification=block", ""))
    found = [number for number in _of_seeds(results, quantity, contender) if number]
    return speed_of_seeds(found) if found else None


def _of_seeds(results: Results, quantity: str, contender: Contender) -> Iterator[Number | None]:
    """Yield each seed's number under the first speed condition."""
    for row in results.results:
        if row.cell.contender == contender and not row.failure:
            keys = (key for key in row.numbers if key.partition("[")[0] == quantity)
            yield next((row.numbers[key] for key in keys), None)


def _value(results: Results, name: str, contender: Contender) -> float:
    number = _number(results, name, contender)
    return number.value if number else float("-inf")


def _ledger(results: Results, name: str, contender: Contender) -> str:
    ledgers: Sequence[float] = [
        getattr(row.ledger, name)
        for row in results.results
        if row.cell.contender == contender and row.ledger
    ]
    if not ledgers:
        return ""
    return f"{fmean(ledgers):.1e}" if name == "flops" else f"{fmean(ledgers):.0f}"
