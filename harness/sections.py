"""The sections of a recipe: rows, pairs, training, evaluation, speed. Unknown keys are errors."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.types import MAX_GAMMA
from harness.validation import Section

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


class Prompting(Section):
    """How questions are put, to target and draft alike.

    `format`: the target's chat template, plain text, or (auto) the template if there is one.
    `shots`: how many solved examples go before the question. `styles`: a task's own named way of
    asking, by task.
    """

    format: Literal["auto", "chat", "plain"] = "auto"
    shots: Annotated[int, Field(ge=0)] = 0
    styles: Mapping[str, str] = Field(default_factory=dict)


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


class DraftSampling(Section):
    """Where the draft is sampled in another way than its target: what is not said is the same."""

    temperature: Annotated[float, Field(ge=0)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None


class Evaluation(Section):
    """What is measured: samplers of the target, and the block length that tables show.

    `top_k` and `top_p` cut the laws at temperatures above 0; `draft` samples the draft apart.
    """

    temperatures: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = (
        0.0,
        1.0,
    )
    top_k: Annotated[int, Field(ge=0)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    draft: DraftSampling = DraftSampling()
    num_speculative_tokens: Annotated[int, Field(ge=1, le=MAX_GAMMA)] = 4
    max_new_tokens: Count | None = None


class Speed(Section):
    """End-to-end runs of an engine, interleaved with the target alone, in blocks of prompts."""

    engine: str = "reference"
    temperature: Annotated[float, Field(ge=0)] = 0.0
    num_speculative_tokens: Annotated[int, Field(ge=1, le=MAX_GAMMA)] = 4
    blocks: Annotated[int, Field(ge=2)] = 5
    prompts_per_block: Count = 4
    dtype: Dtype = "float32"
