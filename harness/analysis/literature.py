"""Published figures of papers, printed beside the numbers of a run.

Each paper has a file in the recipes' folder `published/`. Each table in it has one pair, method and
column, with the figures' definition and source: the paper's own text or code (`primary`), or notes
by somebody else (`secondary`).
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
    """The figures of one pair, method and column, by task, in percent.

    `method` is the name in recipes, `called` the name in the paper; the figures are printed beside
    the run's number `beside`.
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
    """A paper's figures; `protocol` says how its measurement differs from draftmark's."""

    paper: Text
    protocol: Text
    tables: Annotated[tuple[Table, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_once(self) -> "Paper":
        seen = set()
        for table in self.tables:
            for task in table.values:
                place = (table.target, table.draft, table.method, table.column, task)
                if place in seen:
                    raise ValueError(f"{', '.join(place)} has two figures")
                seen.add(place)
        return self


@dataclass(frozen=True)
class Figure:
    """One published figure."""

    task: str
    table: Table
    paper: str
    protocol: str

    @property
    def value(self) -> float:
        """The figure as a fraction, 0 to 1."""
        return self.table.values[self.task] / 100


@cache
def published_figures() -> tuple[Figure, ...]:
    """Return the figures of every file in `published/`."""
    folder = resources.files("draftmark.baselines") / "recipes" / "published"
    return tuple(
        figure
        for file in sorted(folder.iterdir(), key=lambda item: item.name)
        if file.name.endswith(".toml")
        for figure in read_figures(file.read_text("utf-8"), f"published/{file.name}")
    )


def read_figures(text: str, origin: str) -> Iterator[Figure]:
    """Yield the figures of a file; raises UserError that names `origin` and the faulty key."""
    paper = validate_section(Paper, parse_toml(text, origin), origin)
    for table in paper.tables:
        for task in table.values:
            yield Figure(task, table, paper.paper, " ".join(paper.protocol.split()))


def matching_figures(contender: Contender, recipe: Mapping[str, Any]) -> list[Figure]:
    """Return the figures for a contender's task, pair and method; `recipe` is the run's recipe.

    Models are compared by name alone, without publisher and revision.
    """
    titles = {entry.get("label") or entry["name"]: entry for entry in recipe.get("methods", ())}
    own = titles.get(contender.method, {}).get("draft")
    models = [
        (_name(pair["target"]), _name(str((own or pair["draft"]).get("model") or "")))
        for pair in recipe["pairs"]
        if pair["name"] == contender.pair
    ]
    return [
        figure
        for figure in published_figures()
        if (figure.table.target, figure.table.draft) in models
        and (figure.task, figure.table.method) == (contender.task, contender.method)
    ]


def _name(reference: str) -> str:
    """Return the model's bare name: "pythia-1.4b" for "EleutherAI/pythia-1.4b@main"."""
    return reference.partition("@")[0].rstrip("/").rpartition("/")[2].lower()
