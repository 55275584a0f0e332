"""Recipes: a TOML file becomes a typed Recipe, and a Recipe its cells.

A knob lives with what it configures: a method's knobs are the fields of its dataclass, and
whatever a recipe says of them is checked against those. Unknown keys are errors.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from harness import registry
from harness.errors import UserError, unknown
from harness.protocols import Method
from harness.types import Cell, Task
from harness.validation import Section, explain, validated

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Source = Literal["hub", "directory", "samples"]
Dtype = Literal["float32", "bfloat16", "float16"]


class Data(Section):
    """Which rows are used. Sources are tried in order; the first that has the task is taken."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)] = ("hub", "directory", "samples")
    train_rows: Count = 1000
    validation_rows: Count = 64
    test_rows: Count = 200


class DraftInit(Section):
    """What a draft starts as: a model, some layers of the target, or random weights.

    `head`: of a pruned draft, the target's embedding and head, `shared` (not trained) or `copied`
    (trained); `fitted` to the draft's body in closed form on the training text (not trained).
    """

    model: str | None = None
    pruned: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    random: Mapping[str, Any] | None = None
    head: Literal["shared", "copied", "fitted"] = "copied"

    @model_validator(mode="after")
    def _exactly_one(self) -> "DraftInit":
        given = [name for name in ("model", "pruned", "random") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of model, pruned, random; got {given or 'none'}")
        if self.pruned is not None and not self.pruned:
            raise ValueError("pruned needs at least one layer index")
        if self.pruned is not None and len(set(self.pruned)) < len(self.pruned):
            raise ValueError("pruned names a layer twice")
        if self.pruned is None and self.head == "shared":
            raise ValueError("head = 'shared' is for pruned drafts only")
        if self.model is not None and self.head == "fitted":
            raise ValueError("head = 'fitted' is for pruned and random drafts only")
        return self

    def describe(self) -> str:
        """Return the init in words, as reports print it."""
        if self.pruned is not None:
            layers = ", ".join(map(str, self.pruned))
            return f"layers {layers} of the target, head {self.head}"
        if self.model is not None:
            return f"model {self.model}"
        fitted = ", head fitted" if self.head == "fitted" else ""
        return f"random weights, {dict(self.random or {})}{fitted}"


class Pair(Section):
    """A target and what its drafts start as. `dtype` is what training computes in."""

    name: str
    target: str
    draft: DraftInit
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    trust_remote_code: bool = False


class Training(Section):
    """How drafts are trained; the same for every method unless the method says otherwise.

    `text`: what the draft reads, gold answers or the target's own responses.
    """

    text: Literal["dataset", "target"] = "dataset"
    text_temperature: Annotated[float, Field(ge=0)] = 1.0
    passes: Annotated[float, Field(gt=0)] = 1.0
    rows_per_batch: Count = 8
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    warmup_fraction: Fraction = 0.1
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    validations: Count = 4


class MethodEntry(BaseModel):
    """A method and its knobs; `label` tells apart two entries of the same method."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    label: str = ""
    training: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name that tables show."""
        return self.label or self.name

    def build(self) -> Method:
        """Return the method with this entry's knobs; raises UserError on a bad one."""
        method = registry.find("baselines", self.name)
        knobs = self.model_extra or {}
        known = {field.name for field in dataclasses.fields(method)}
        for knob in knobs:
            if knob not in known:
                raise unknown(f"knob of method {self.name!r}", knob, known | {"label", "training"})
        try:
            built: Method = TypeAdapter(method).validate_python(knobs)
        except ValidationError as error:
            raise UserError(explain(error, f"method {self.name!r}")) from error
        return built


class Evaluation(Section):
    """What is measured: temperatures of the target, and the block length that tables show."""

    temperatures: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = (
        0.0,
        1.0,
    )
    num_speculative_tokens: Annotated[int, Field(ge=1, le=16)] = 4
    max_new_tokens: Count | None = None


class Speed(Section):
    """End-to-end runs of an engine, interleaved with the target alone, in blocks of prompts."""

    engine: str = "reference"
    temperature: Annotated[float, Field(ge=0)] = 0.0
    num_speculative_tokens: Annotated[int, Field(ge=1, le=16)] = 4
    blocks: Annotated[int, Field(ge=2)] = 5
    prompts_per_block: Count = 4
    dtype: Dtype = "float32"


def _unless_false(value: Any) -> Any:
    return None if value is False else value


class Recipe(Section):
    """One experiment. Its cells are every task x pair x method x seed.

    `threads` limits those of the processor: a tiny model is faster on one. `speed = false` leaves
    the engine runs out.
    """

    title: str
    tasks: tuple[str, ...]
    pairs: tuple[Pair, ...]
    methods: tuple[MethodEntry, ...]
    seeds: tuple[int, ...] = (0,)
    data: Data = Data()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    speed: Annotated[Speed | None, BeforeValidator(_unless_false)] = Speed()
    threads: Count | None = None

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
    def _enough_prompts(self) -> "Recipe":
        if self.speed and self.speed.blocks > self.data.test_rows:
            raise ValueError(
                f"speed.blocks = {self.speed.blocks} needs data.test_rows of as many or more"
            )
        return self

    def cells(self) -> Iterator[Cell]:
        """Yield the cells in the order of the recipe."""
        for task, pair, method, seed in itertools.product(
            self.tasks, self.pairs, self.methods, self.seeds
        ):
            yield Cell(task=task, pair=pair.name, method=method.title, seed=seed)

    def pair(self, name: str) -> Pair:
        """Return the pair called `name`."""
        return next(pair for pair in self.pairs if pair.name == name)

    def method(self, title: str) -> MethodEntry:
        """Return the method entry that tables show as `title`."""
        return next(method for method in self.methods if method.title == title)

    def training_of(self, entry: MethodEntry) -> Training:
        """Return how this entry trains: the recipe's settings under the entry's own."""
        own = validated(
            Training, {**self.training.model_dump(), **entry.training}, f"method {entry.title!r}"
        )
        return own

    def max_new_tokens(self, task: Task) -> int:
        """Return the length limit of responses: the recipe's, else the task's."""
        return self.evaluation.max_new_tokens or task.max_new_tokens
