"""The typed Recipe of a TOML file, and its cells.

A method's knobs are the fields of its dataclass, and a recipe's values are checked against those.
Unknown keys are errors.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from draftmark.config.model_sections import DraftInit, Pair, Training
from draftmark.config.sections import (
    Data,
    Evaluation,
    Features,
    Prompting,
    Responses,
    Speed,
    SpeedCondition,
    TaskRows,
)
from draftmark.config.validation import NoneIfFalse, Section, validate_section
from draftmark.results import Cell
from draftmark.types import GREEDY, Sampler, Samplers, Task


class MethodEntry(BaseModel):
    """A method and its knobs; two entries of one method need different labels."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    label: str = ""
    against: tuple[str, ...] = ()  # titles of entries to compare with [default: the first]
    draft: DraftInit | None = None  # [default: the pair's]
    training: Mapping[str, Any] = Field(default_factory=dict)
    sweep: str = ""  # the knob whose list in the recipe became this entry and others

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys at their default: recipes from before the keys read the same."""
        document: dict[str, Any] = dump(self)
        for key in ("draft", "sweep"):
            if not getattr(self, key):
                document.pop(key, None)
        return document

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.label or self.name

    @property
    def knobs(self) -> Mapping[str, Any]:
        """The method's own settings: the keys that are not fields of an entry."""
        return self.model_extra or {}


Seeds = tuple[Annotated[int, Field(ge=0, lt=2**32)], ...]


class TaskOverrides(Section):
    """Overrides for one task: keys of these sections replace the recipe's own.

    `fine_tune` applies to every pair that fine-tunes its target; `methods` is keyed by title.
    """

    seeds: Seeds | None = None
    data: Mapping[str, Any] = Field(default_factory=dict)
    training: Mapping[str, Any] = Field(default_factory=dict)
    fine_tune: Mapping[str, Any] = Field(default_factory=dict)
    methods: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)


class Recipe(Section):
    """One experiment; its cells are all combinations of task, pair, method and seed.

    `threads` limits torch's CPU threads: a tiny model is faster on one. `speed = false` skips the
    engine runs.
    """

    title: str
    tasks: tuple[str, ...]
    pairs: tuple[Pair, ...]
    methods: tuple[MethodEntry, ...]
    seeds: Seeds = (0,)
    data: Data = Data()
    prompting: Prompting = Prompting()
    training: Training = Training()
    # Without them, the dump of a recipe is as it was before these keys.
    responses: Responses = Field(
        default=Responses(), exclude_if=lambda given: given.engine == "draftmark"
    )
    features: Features = Field(
        default=Features(), exclude_if=lambda given: given.engine == "draftmark"
    )
    evaluation: Evaluation = Evaluation()
    speed: Annotated[Speed | None, NoneIfFalse] = Speed()
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    # By task. Without any, the dump of a recipe is as it was before this key.
    rows: Mapping[str, TaskRows] = Field(default_factory=dict, exclude_if=lambda rows: not rows)
    by_task: Mapping[str, TaskOverrides] = Field(default_factory=dict)

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
    def _one_block_length(self) -> "Recipe":
        """Measure speed at the evaluation's block length unless the recipe names another."""
        if self.speed and "num_speculative_tokens" not in self.speed.model_fields_set:
            gamma = {"num_speculative_tokens": self.evaluation.num_speculative_tokens}
            object.__setattr__(self, "speed", self.speed.model_copy(update=gamma))
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> "Recipe":
        styles = self.prompting.styles
        named = {"prompting.styles": styles, "by_task": self.by_task, "rows": self.rows}
        for place, names in named.items():
            for name in names:
                if name not in self.tasks:
                    raise ValueError(f"{place} names {name!r}, which is not one of tasks")
        titles = [method.title for method in self.methods]
        for task, own in self.by_task.items():
            place = f"by_task.{task}"
            for title, changes in own.methods.items():
                if title not in titles:
                    raise ValueError(f"{place}.methods names {title!r}, an unknown method")
                if not isinstance(changes.get("training", {}), Mapping):
                    raise ValueError(f"{place}.methods.{title}.training must be a table")
                if changes.keys() & {"name", "label", "against", "draft"}:
                    raise ValueError(
                        f"{place}.methods may change knobs and training, not names or drafts"
                    )
            if own.fine_tune and not any(pair.fine_tune for pair in self.pairs):
                raise ValueError(f"{place}.fine_tune needs a pair with fine_tune")
        return self

    @model_validator(mode="after")
    def _compared_with_others(self) -> "Recipe":
        titles = [method.title for method in self.methods]
        for method in self.methods:
            for other in method.against:
                if other not in titles or other == method.title:
                    others = ", ".join(title for title in titles if title != method.title) or "none"
                    raise ValueError(
                        f"method {method.title!r}: against names {other!r}, which is not one of "
                        f"the other methods: {others}"
                    )
            if len(set(method.against)) < len(method.against):
                raise ValueError(f"method {method.title!r}: against names a method twice")
        return self

    @model_validator(mode="after")
    def _enough_prompts(self) -> "Recipe":
        needed: dict[str, int] = {}
        if self.speed:
            blocks, widest = self.speed.blocks, max(self.speed.batch_sizes)
            needed[f"speed.blocks = {blocks}"] = blocks
            needed[f"speed.batch_sizes up to {widest} in {blocks} blocks"] = blocks * widest
        for name in ("samples", "judge"):
            section = getattr(self.evaluation, name)
            if section and section.prompts:
                needed[f"evaluation.{name}.prompts = {section.prompts}"] = section.prompts
        for what, count in needed.items():
            if count > self.data.test_rows:
                raise ValueError(f"{what} needs data.test_rows of {count} or more")
        return self

    def cells(self) -> Iterator[Cell]:
        """Yield the cells in the recipe's order."""
        for task in self.tasks:
            seeds = self.for_task(task).seeds
            for pair, method, seed in itertools.product(self.pairs, self.methods, seeds):
                yield Cell(task=task, pair=pair.name, method=method.title, seed=seed)

    def for_task(self, task: str) -> "Recipe":
        """Return the recipe with a task's overrides; raises UserError for an invalid one."""
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
            changes = own.methods.get(method.title, {})
            entry |= {**changes, "training": {**entry["training"], **changes.get("training", {})}}
        return validate_section(Recipe, document, f"by_task.{task}")

    def pair(self, name: str) -> Pair:
        """Return the pair called `name`."""
        return next(pair for pair in self.pairs if pair.name == name)

    def method(self, title: str) -> MethodEntry:
        """Return the method entry with this title."""
        return next(method for method in self.methods if method.title == title)

    def training_of(self, entry: MethodEntry) -> Training:
        """Return an entry's training settings: its own keys over the recipe's."""
        merged = {**self.training.model_dump(), **entry.training}
        return validate_section(Training, merged, f"method {entry.title!r}", ("training",))

    @property
    def headline_speed(self) -> SpeedCondition | None:
        """The speed condition of headlines: the first with the evaluation's block length."""
        conditions = self.speed.conditions() if self.speed else ()
        gamma = self.evaluation.num_speculative_tokens
        same = [item for item in conditions if item.num_speculative_tokens == gamma]
        return next(iter([*same, *conditions]), None)

    def samplers(self, temperature: float) -> Samplers:
        """Return the samplers of target and draft at a temperature of the target."""
        settings = self.evaluation
        target = Sampler(temperature, settings.top_k, settings.top_p) if temperature else GREEDY
        draft = replace(target, **settings.draft.model_dump(exclude_none=True))
        return Samplers(target, draft if draft.temperature else GREEDY)

    def max_new_tokens(self, task: Task) -> int:
        """Return the length limit of responses in tokens: the recipe's, else the task's."""
        return self.evaluation.max_new_tokens or task.max_new_tokens
