"""Figures that papers publish, to be printed beside what a run measured. Data, never results.

They lie beside the recipes in `published/`, a file for each paper: tables of one pair, method and
column, with how the figure is defined, where it was read, and whether that is the paper's own text
or its code (`primary`) or somebody else's notes on it (`secondary`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from draftmark.config.validation import Section, parse_toml, validate_section
from draftmark.results import Contender

Text = Annotated[str, Field(min_length=1)]


class Table(Section):
    """The figures of one pair, method and column, by task.

    `method` is as the recipes call it, `called` as the paper does; `beside` is the number of a run
    that comes nearest. Of a unit of percent, values are 0 to 100.
    """

    target: Text
    draft: Text
    method: Text
    called: Text
    column: Text
    quantity: Text
    definition: Text
    unit: Literal["percent"]
    beside: Literal["acceptance_rate", "quality_draft"]
    source: Text
    status: Literal["primary", "secondary"]
    values: Annotated[Mapping[str, Annotated[float, Field(ge=0, le=100)]], Field(min_length=1)]


class Paper(Section):
    """A paper's figures; `protocol`: how what was measured there differs from here, in words."""

    paper: Text
    protocol: Text
    tables: Annotated[tuple[Table, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_once(self) -> "Paper":
        places = [
            (table.target, table.draft, table.method, table.column, task)
            for table in self.tables
            for task in table.values
        ]
        for place in places:
            if places.count(place) > 1:
                raise ValueError(f"{', '.join(place)} has two figures")
        return self


@dataclass(frozen=True)
class Figure:
    """One published figure; `value` is a fraction, 0 to 1."""

    task: str
    table: Table
    paper: str
    protocol: str

    @property
    def value(self) -> float:
        """The figure as a fraction."""
        return self.table.values[self.task] / 100


@cache
def figures() -> tuple[Figure, ...]:
    """Return every figure that comes with draftmark."""
    folder = resources.files("draftmark.baselines") / "recipes" / "published"
    files = sorted((item for item in folder.iterdir()), key=lambda item: item.name)
    return tuple(
        figure
        for file in files
        if file.name.endswith(".toml")
        for figure in read(file.read_text("utf-8"), f"published/{file.name}")
    )


def read(text: str, origin: str) -> Iterator[Figure]:
    """Yield the figures of a file; raises UserError naming `origin` and what is wrong in it."""
    paper = validate_section(Paper, parse_toml(text, origin), origin)
    for table in paper.tables:
        for task in table.values:
            yield Figure(task, table, paper.paper, " ".join(paper.protocol.split()))


def matching(contender: Contender, recipe: Mapping[str, Any]) -> list[Figure]:
    """Return the figures of a contender's task, pair and method; `recipe` is as results hold it.

    Models are compared by name alone: not by who publishes them, nor at which revision.
    """
    models = [
        (_name(pair["target"]), _name(pair["draft"].get("model") or ""))
        for pair in recipe["pairs"]
        if pair["name"] == contender.pair
    ]
    return [
        figure
        for figure in figures()
        if (figure.table.target, figure.table.draft) in models
        and (figure.task, figure.table.method) == (contender.task, contender.method)
    ]


def _name(reference: str) -> str:
    return reference.partition("@")[0].rstrip("/").rpartition("/")[2].lower()
