"""The sections of a recipe: rows, pairs, training, evaluation, speed. Unknown keys are errors."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from draftmark.config.validation import Section
from draftmark.types import MAX_GAMMA

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Source = Literal["hub", "directory", "samples"]
Dtype = Literal["float32", "bfloat16", "float16"]


class Data(Section):
    """Which rows are used. Sources are tried in order; the first that has the task is taken.

    `max_features_gb`: how much disk the target's states on one set of texts may take, where a
    method reads them at every position.
    """

    sources: Annotated[tuple[Source, ...], Field(min_length=1)] = ("hub", "directory", "samples")
    train_rows: Count = 1000
    validation_rows: Count = 64
    test_rows: Count = 200
    max_features_gb: Annotated[float, Field(gt=0)] = 20.0


class Prompting(Section):
    """How questions are put, to target and draft alike.

    `format`: the target's chat template, plain text, or (auto) the template if there is one.
    `shots`: how many solved examples go before the question. `styles`: a task's own named way of
    asking, by task. `stop`: strings that end a response; by default the task's own in plain text,
    and none in a chat.
    """

    format: Literal["auto", "chat", "plain"] = "auto"
    shots: Annotated[int, Field(ge=0)] = 0
    styles: Mapping[str, str] = Field(default_factory=dict)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] | None = None


class DraftSampling(Section):
    """Where the draft is sampled in another way than its target: what is not said is the same."""

    temperature: Annotated[float, Field(ge=0)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None


class Samples(Section):
    """Several sampled responses to each of the first `prompts` test prompts (all, unless said).

    Of the target and of each draft alone: for pass@k, and fidelity against diversity.
    """

    count: Annotated[int, Field(ge=2)] = 4
    temperatures: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (1.0,)
    prompts: Count | None = None


class Judge(Section):
    """A model behind an OpenAI-compatible endpoint that says which of two responses is better.

    Of the draft alone, and of the target or the gold answer. The key is read from an environment
    variable when the judge is asked, and is written nowhere; "" for an endpoint that needs none.
    `options` are further fields of each request.
    """

    endpoint: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    against: Literal["target", "reference"] = "target"
    prompts: Count | None = None
    options: Mapping[str, Any] = {"temperature": 0}

    @model_validator(mode="after")
    def _holds_no_secret(self) -> "Judge":
        """Refuse what may hold a key, without repeating it: recipes are recorded and printed."""
        place = urlsplit(self.endpoint)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise ValueError('endpoint is a URL such as "https://api.openai.com/v1"')
        if place.username or place.password or place.query or place.fragment:
            raise ValueError("endpoint is a URL without user, password, query or fragment")
        if not re.fullmatch(r"([A-Z_][A-Z0-9_]*)?", self.key_variable):
            raise ValueError(
                "key_variable is the name of an environment variable in capitals, never a key"
            )
        return self

    @property
    def host(self) -> str:
        """The endpoint's host, and port if it says one."""
        return urlsplit(self.endpoint).netloc


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
    samples: Samples | None = None
    judge: Judge | None = None


Length = Literal["natural", "fixed"]
Temperature = Annotated[float, Field(ge=0)]
Gamma = Annotated[int, Field(ge=1, le=MAX_GAMMA)]


@dataclass(frozen=True)
class SpeedCondition:
    """One measurement of speed: an engine with its target alone and with the draft."""

    engine: str
    temperature: float
    num_speculative_tokens: int
    blocks: int
    prompts_per_block: int
    dtype: Dtype
    batch_size: int = 1
    length: Length = "natural"

    @property
    def num_prompts(self) -> int:
        """How many prompts all blocks have together: every block fills a batch."""
        return self.blocks * max(self.prompts_per_block, self.batch_size)

    @property
    def label(self) -> str:
        """What tells it from the others of a recipe, in the keys of numbers."""
        return f"gamma={self.num_speculative_tokens},{self.terms}"

    @property
    def terms(self) -> str:
        """What is left of it where nothing is drafted."""
        where = f"t={self.temperature:g},batch={self.batch_size},length={self.length}"
        return f"engine={self.engine},{where}"

    def settings(self) -> dict[str, Any]:
        """Return what decides the measurement; a later key is left out where it is as before it."""
        told = asdict(self)
        added = {"batch_size": 1, "length": "natural"}
        return {name: value for name, value in told.items() if added.get(name) != value}


class Speed(Section):
    """End-to-end runs of engines, interleaved with the target alone, in blocks of prompts.

    `engine`, `temperature` and `num_speculative_tokens` may be lists: with `batch_sizes` every
    combination is a measurement, the first of them the headline. `length`: responses end as the
    target ends them, or (fixed) all at the length limit, end tokens ignored. `noise_floor` times
    the target against itself as well, `cost_model` a draft's step and the target's passes.
    """

    engine: str | Annotated[tuple[str, ...], Field(min_length=1)] = "reference"
    temperature: Temperature | Annotated[tuple[Temperature, ...], Field(min_length=1)] = 0.0
    num_speculative_tokens: Gamma | Annotated[tuple[Gamma, ...], Field(min_length=1)] = 4
    blocks: Annotated[int, Field(ge=2)] = 5
    prompts_per_block: Count = 4
    dtype: Dtype = "float32"
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)
    length: Length = "natural"
    noise_floor: bool = False
    cost_model: bool = False

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines, one or several."""
        return _several(self.engine)

    def conditions(self) -> tuple[SpeedCondition, ...]:
        """Return every measurement, the headline first."""
        return tuple(
            SpeedCondition(
                engine=engine,
                temperature=temperature,
                num_speculative_tokens=gamma,
                blocks=self.blocks,
                prompts_per_block=self.prompts_per_block,
                dtype=self.dtype,
                batch_size=batch_size,
                length=self.length,
            )
            for engine, temperature, batch_size, gamma in itertools.product(
                self.engines,
                _several(self.temperature),
                self.batch_sizes,
                _several(self.num_speculative_tokens),
            )
        )


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
