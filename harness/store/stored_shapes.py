"""The shapes of what results store beside their numbers: recipe, data, manifest, provenance.

Only keys that are read are declared; other keys are kept as they are, since versions differ in
them. A key that every version wrote is required.
"""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from draftmark.types import MAX_GAMMA

# Stages that only name a folder have an empty manifest.
_NoneIfEmpty = BeforeValidator(lambda value: None if value == {} else value)
_Temperature = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Value = TypeVar("_Value")
_Several = Annotated[list[_Value], Field(min_length=1)]


class _Shape(BaseModel):
    """A part of the results: types are strict, and other keys may be there."""

    model_config = ConfigDict(strict=True)


class _Git(_Shape):
    commit: str
    dirty: bool = False
    date: str | None = None


class _Hardware(_Shape):
    processor: str | None
    cores: int | None
    accelerators: list[str]


class _Package(_Shape):
    version: str
    commit: str = ""


class Manifest(_Shape):
    """The manifest of a run or of a stage."""

    versions: dict[str, str | None]
    git: _Git | None
    hardware: _Hardware
    threads: int | None = None
    project: _Git | None = None
    plugins: dict[str, _Package] = {}
    code: dict[str, str] = {}
    merged: "_Merged | None" = None


class _MergedRun(_Shape):
    digest: str
    title: str
    manifest: Manifest


class _Merged(_Shape):
    """The runs of a merged result."""

    runs: list[_MergedRun]
    left_out: str = ""


class _File(_Shape):
    sha256: str


class _Entry(_Shape):
    stage: str
    label: str
    key: str
    manifest: Annotated[Manifest | None, _NoneIfEmpty]
    files: dict[str, _File] | None = None
    seconds: float | None = None


class _Spent(_Shape):
    flops: float
    train_s: float


class _Trial(_Shape):
    learning_rate: float
    value: float
    ledger: _Spent


class Provenance(_Shape):
    """The provenance of a result."""

    entries: list[_Entry] = []
    learning_rate: float | None = None
    search: list[_Trial] = []


class _Pair(_Shape):
    name: str
    target: str
    draft: dict[str, Any]


class _Method(_Shape):
    name: str
    label: str | None = None
    training: dict[str, Any] = {}


class _Samples(_Shape):
    count: int
    temperatures: _Several[_Temperature]


class _Judge(_Shape):
    model: str


class _Evaluation(_Shape):
    num_speculative_tokens: Annotated[int, Field(ge=1, le=MAX_GAMMA)]
    temperatures: _Several[_Temperature]
    samples: _Samples | None = None
    judge: _Judge | None = None


class _Rows(_Shape):
    test_rows: int


class _Speed(_Shape):
    engine: str | _Several[str]
    temperature: _Temperature | _Several[_Temperature]
    num_speculative_tokens: int | _Several[int]
    blocks: int


class StoredRecipe(_Shape):
    """The recipe of a run, with all of its keys."""

    pairs: list[_Pair]
    methods: list[_Method]
    evaluation: _Evaluation
    data: _Rows
    speed: _Speed | None
    prompting: dict[str, Any] = {}
    training: dict[str, Any] = {}


class _Overlap(_Shape):
    group: str
    part: str
    rows: str | int
    examples: list[dict[str, Any]]


class _Ledger(_Shape):
    steps: int
    rows: int
    supervised_tokens: int
    flops: float
    train_s: float


class _FineTuning(_Shape):
    ledger: _Ledger


class _OfSplits(_Shape):
    test: str
    train: str = ""
    validation: str = ""


class _Model(_Shape):
    reference: str = ""
    source: str | None = None
    commit: str | None = None
    files: dict[str, Any] = {}


class _OwnDraft(_Shape):
    model: _Model = _Model()


class DataFacts(_Shape):
    """The rows and the target of a task and pair."""

    task: str
    pair: str
    task_version: int
    target: str
    target_digest: str
    draft: str
    rows: dict[str, int]
    source: _OfSplits
    digest: _OfSplits
    overlaps: list[_Overlap]
    max_new_tokens: int = 0
    models: dict[str, _Model] = {}
    drafts: dict[str, _OwnDraft] = {}
    fine_tuning: _FineTuning | None = None
