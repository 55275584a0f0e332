"""Recipes: a TOML file becomes a typed Recipe, and a Recipe its cells.

A knob lives with what it configures: a method's knobs are the fields of its dataclass, and
whatever a recipe says of them is checked against those. Unknown keys are errors.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from draftmark.config.model_sections import Pair, Training
from draftmark.config.sections import Data, Evaluation, Prompting, Speed
from draftmark.config.validation import Section, UnlessFalse, validated
from draftmark.results import Cell
from draftmark.types import GREEDY, Sampler, Samplers, Task


class MethodEntry(BaseModel):
    """A method and its knobs; `label` tells apart two entries of the same method.

    `against`: the entries that it is compared with, by the names in tables; by default the first.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    label: str = ""
    against: tuple[str, ...] = ()
    training: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name that tables show."""
        return self.label or self.name

    @property
    def knobs(self) -> Mapping[str, Any]:
        """Settings of the method itself: keys that are no field of an entry."""
        return self.model_extra or {}


Seeds = tuple[Annotated[int, Field(ge=0, lt=2**32)], ...]


class ForTask(Section):
    """What is otherwise for one task: keys of these sections, in place of the recipe's own.

    `fine_tune` is of every pair that fine-tunes its target; `methods` by the names in tables.
    `seeds` are the task's own: a task may be cheap enough for more of them.
    """

    seeds: Seeds | None = None
    data: Mapping[str, Any] = Field(default_factory=dict)
    training: Mapping[str, Any] = Field(default_factory=dict)
    fine_tune: Mapping[str, Any] = Field(default_factory=dict)
    methods: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)


class Recipe(Section):
    """One experiment. Its cells are every task x pair x method x seed.

    `threads` limits those of the processor: a tiny model is faster on one. `speed = false` leaves
    the engine runs out.
    """

    title: str
    tasks: tuple[str, ...]
    pairs: tuple[Pair, ...]
    methods: tuple[MethodEntry, ...]
    seeds: Seeds = (0,)
    data: Data = Data()
    prompting: Prompting = Prompting()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    speed: Annotated[Speed | None, UnlessFalse] = Speed()
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    by_task: Mapping[str, ForTask] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _no_duplicates(self) -> "Recipe":
        for what, values in (
            ("tasks", list(self.tasks)),
            ("pairs", [pair.name for pair in self.pairs]),
            ("methods (give one a label)", [method.title for method in self.methods]),
            ("seeds", [str(seed) for seed in self.seeds]),
        ):
            if not values:
                raise ValueError(f"{what.split()[0]} is empty")
            if len(set(values)) < len(values):
                raise ValueError(f"{what} repeat: {', '.join(values)}")
        return self

    @model_validator(mode="after")
    def _names_are_its_own(self) -> "Recipe":
        for place, names in (
            ("prompting.styles", self.prompting.styles),
            ("by_task", self.by_task),
        ):
            for name in names:
                if name not in self.tasks:
                    raise ValueError(f"{place} names {name!r}, which is none of tasks")
        for task, own in self.by_task.items():
            for title in own.methods.keys() - {method.title for method in self.methods}:
                raise ValueError(f"by_task.{task}.methods names {title!r}, which is no method here")
            for title, told in own.methods.items():
                if not isinstance(told.get("training", {}), Mapping):
                    raise ValueError(f"by_task.{task}.methods.{title}.training is no table of keys")
            if any(told.keys() & {"name", "label", "against"} for told in own.methods.values()):
                raise ValueError(f"by_task.{task}.methods changes knobs and training, no names")
            if own.fine_tune and not any(pair.fine_tune for pair in self.pairs):
                raise ValueError(f"by_task.{task}.fine_tune is given, but no pair has fine_tune")
        return self

    @model_validator(mode="after")
    def _compared_with_others(self) -> "Recipe":
        titles = [method.title for method in self.methods]
        for method in self.methods:
            for other in method.against:
                if other not in titles or other == method.title:
                    others = ", ".join(title for title in titles if title != method.title) or "none"
                    raise ValueError(
                        f"method {method.title!r} is against {other!r}, which is none of the "
                        f"others here: {others}"
                    )
            if len(set(method.against)) < len(method.against):
                raise ValueError(f"method {method.title!r}: against names one method twice")
        return self

    @model_validator(mode="after")
    def _enough_prompts(self) -> "Recipe":
        if self.speed and self.speed.blocks > self.data.test_rows:
            raise ValueError(
                f"speed.blocks = {self.speed.blocks} needs data.test_rows of as many or more"
            )
        widest = max(self.speed.batch_sizes) if self.speed else 1
        if self.speed and widest > 1 and self.speed.blocks * widest > self.data.test_rows:
            raise ValueError(
                f"speed.batch_sizes up to {widest} in {self.speed.blocks} blocks need "
                f"data.test_rows of {self.speed.blocks * widest} or more"
            )
        for name in ("samples", "judge"):
            told = getattr(self.evaluation, name)
            if told and (told.prompts or 0) > self.data.test_rows:
                raise ValueError(
                    f"evaluation.{name}.prompts = {told.prompts} needs data.test_rows of as many "
                    "or more"
                )
        return self

    def cells(self) -> Iterator[Cell]:
        """Yield the cells in the order of the recipe."""
        for task in self.tasks:
            seeds = self.for_task(task).seeds
            for pair, method, seed in itertools.product(self.pairs, self.methods, seeds):
                yield Cell(task=task, pair=pair.name, method=method.title, seed=seed)

    def for_task(self, task: str) -> "Recipe":
        """Return the recipe as it is for one task; raises UserError for what does not fit."""
        if task not in self.by_task:
            return self
        own, document = self.by_task[task], self.model_dump(mode="json", exclude={"by_task"})
        document["seeds"] = self.seeds if own.seeds is None else own.seeds
        document["data"] |= own.data
        document["training"] |= own.training
        for pair in document["pairs"]:
            if pair["fine_tune"] is not None:
                pair["fine_tune"] |= own.fine_tune
        for entry, method in zip(document["methods"], self.methods, strict=True):
            told = own.methods.get(method.title, {})
            entry |= {**told, "training": {**entry["training"], **told.get("training", {})}}
        return validated(Recipe, document, f"by_task.{task}")

    def pair(self, name: str) -> Pair:
        """Return the pair called `name`."""
        return next(pair for pair in self.pairs if pair.name == name)

    def method(self, title: str) -> MethodEntry:
        """Return the method entry that tables show as `title`."""
        return next(method for method in self.methods if method.title == title)

    def training_of(self, entry: MethodEntry) -> Training:
        """Return how this entry trains: the recipe's settings under the entry's own."""
        told = {**self.training.model_dump(), **entry.training}
        return validated(Training, told, f"method {entry.title!r}", ("training",))

    def samplers(self, temperature: float) -> Samplers:
        """Return how target and draft are sampled at a temperature of the target."""
        told = self.evaluation
        target = Sampler(temperature, told.top_k, told.top_p) if temperature else GREEDY
        draft = replace(target, **told.draft.model_dump(exclude_none=True))
        return Samplers(target, draft if draft.temperature else GREEDY)

    def max_new_tokens(self, task: Task) -> int:
        """Return the length limit of responses: the recipe's, else the task's."""
        return self.evaluation.max_new_tokens or task.max_new_tokens
