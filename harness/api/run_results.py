"""The results of a run as Python and notebooks use them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from draftmark import registry
from draftmark.errors import UserError, unknown_name_error
from draftmark.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_NAMES = ("task", "pair", "method")
_SCREEN_DOTS_PER_INCH = 100


class _Answer(Protocol):
    """What the report `answer` has, beside its file."""

    def verdict(self, results: Results, directory: Path) -> list[str]: ...

    def paste(self, results: Results, directory: Path) -> str: ...

    def table(self, results: Results) -> Sequence[Mapping[str, Any]]: ...

    def html(self, results: Results, directory: Path) -> str: ...


class _Figures(Protocol):
    """What the report `figures` has, beside its files."""

    def pictures(
        self, results: Results, directory: Path
    ) -> "tuple[dict[str, Callable[[], Figure]], list[str]]": ...


@dataclass(frozen=True, repr=False)
class RunResults:
    """The results of a run, and its folder.

    `results` are all numbers with their intervals, comparisons, findings and provenance. Printed,
    the results are the run's answer; in a notebook, its table, verdict and what to paste.
    """

    results: Results
    directory: Path

    @property
    def verdict(self) -> str:
        """Which draft is first, by how much, what to serve, and what the run cannot say."""
        return " ".join(_answer().verdict(self.results, self.directory))

    @property
    def paste(self) -> str:
        """Commands that serve the best draft, as a script for a shell; "" without any."""
        return _answer().paste(self.results, self.directory)

    def table(self, *, every: bool = False) -> "DataFrame":
        """Return the table of methods, in order of block efficiency.

        A number has three columns: its value, and the ends of its 95% interval, "..., low" and
        "..., high". Methods that share a letter of "group" do not differ significantly in block
        efficiency. The index is task, pair and method. With `every`, a row for each number of the
        run instead, with the columns of the report `export`.
        """
        import pandas as pd

        if every:
            files = registry.find_registered("reports", "export")(self.results, self.directory)
            return pd.read_parquet(BytesIO(files["numbers.parquet"]))
        rows = [dict(_flat(row)) for row in _answer().table(self.results)]
        return pd.DataFrame(rows, columns=list(rows[0]) if rows else _NAMES).set_index(list(_NAMES))

    @property
    def plot_names(self) -> tuple[str, ...]:
        """The names of the figures that the run has data for."""
        return tuple(_pictures(self)[0])

    def plot(self, name: str = "") -> "Figure":
        """Return a figure of the run, by default the first, as the report `figures` draws it.

        Raises UserError for an unknown name, and if there is no figure, with the reasons.
        """
        drawn, missing = _pictures(self)
        if not drawn:
            raise UserError(f"{self.directory} has no figure. {' '.join(missing)}")
        if name and name not in drawn:
            raise unknown_name_error("figure", name, drawn)
        figure = drawn[name or next(iter(drawn))]()
        vars(figure)["_repr_png_"] = partial(_png, figure)  # notebooks without pyplot show it too
        return figure

    def __repr__(self) -> str:
        """Return the run's answer, as `draftmark run` prints it."""
        files = registry.find_registered("reports", "answer")(self.results, self.directory)
        return f"{files['answer.txt']}{self.directory}"

    def _repr_html_(self) -> str:
        """Return table, verdict and what to paste for a notebook."""
        return _answer().html(self.results, self.directory)


def _answer() -> _Answer:
    answer: _Answer = registry.find_registered("reports", "answer")
    return answer


def _pictures(run: RunResults) -> "tuple[dict[str, Callable[[], Figure]], list[str]]":
    figures: _Figures = registry.find_registered("reports", "figures")
    return figures.pictures(run.results, run.directory)


def _flat(row: Mapping[str, Any]) -> "list[tuple[str, Any]]":
    """Return a row of the table with three columns for each number; None if it is missing."""
    found: list[tuple[str, Any]] = []
    for name, entry in row.items():
        if isinstance(entry, str | int) or name == "prompts":
            found.append((name, entry))
            continue
        number = entry.number if entry else None
        found.append((name, number and number.value))
        found += [(f"{name}, {end}", number and getattr(number, end)) for end in ("low", "high")]
    return found


def _png(figure: "Figure") -> bytes:
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=_SCREEN_DOTS_PER_INCH)
    return stream.getvalue()
