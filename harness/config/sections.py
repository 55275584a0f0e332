"""The sections of a recipe on data, prompts, evaluation and speed."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from draftmark.config.validation import Section
from draftmark.types import MAX_GAMMA, Split, Verification

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Source = Literal["hub", "directory", "samples"]
# What draftmark itself passes to the function that applies a template.
_OWN_ARGUMENTS = (
    *("messages", "conversation", "chat_template", "add_generation_prompt", "tokenizer_kwargs"),
    *("continue_final_message", "tokenize", "padding", "truncation", "max_length", "strftime_now"),
    *("return_tensors", "return_dict", "return_assistant_tokens_mask"),
)
Dtype = Literal["float32", "bfloat16", "float16"]


class Data(Section):
    """The rows of a task, from the first of the sources that has them."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)] = ("hub", "directory")
    train_rows: Count = 1000
    validation_rows: Count = 64
    test_rows: Count = 200
    max_features_gb: Annotated[float, Field(gt=0)] = 20.0  # hidden states of a text set, on disk


class TaskRows(Section):
    """The rows of one task: files, or a data set on the hub.

    `file` is the file of the test rows, or a table with a file for each split. `dataset` is a name
    on the hub, `revision` its commit, `splits` maps draftmark's splits to slices of the data set's,
    and `files` is the pattern of a split's files. `columns` maps a column that the task reads to
    the file's own, or to several that are joined. `format` picks one of several formats that a row
    has; "text" reads a file as lines of text.
    """

    file: str | Mapping[Split, str] | None = None
    dataset: str | None = None
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None
    splits: Mapping[Split, str] = {"test": "test"}
    files: str = "*{split}*.parquet"
    format: Literal["auto", "messages", "conversations", "turns", "prompt", "text"] = "auto"
    columns: Mapping[str, str | Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _one_place(self) -> "TaskRows":
        if (self.file is None) == (self.dataset is None):
            raise ValueError("needs exactly one of file and dataset")
        if (self.dataset is None) != (self.revision is None):
            raise ValueError("dataset and revision (a whole commit) are set together")
        if self.dataset and self.format == "text":
            raise ValueError("format = 'text' reads a file, not a dataset")
        if self.file is not None and not self.paths:
            raise ValueError("file needs a path, or a table such as { test = 'questions.jsonl' }")
        return self

    @property
    def paths(self) -> dict[Split, str]:
        """The file of each split."""
        if isinstance(self.file, str):
            return {"test": self.file}
        return dict(self.file or {})


class Prompting(Section):
    """How prompts are written, for target and draft alike.

    `format`: the target's chat template, plain text, or (auto) the template if there is one.
    `shots`: the number of solved examples before the question. `styles`: the name of a task's own
    prompt style, by task. `stop`: strings that end a response; by default the task's own for plain
    text and none for a chat. `chat_template_kwargs`: arguments of the chat template, such as
    `{ enable_thinking = false }`.
    """

    format: Literal["auto", "chat", "plain"] = "auto"
    shots: Annotated[int, Field(ge=0)] = 0
    styles: Mapping[str, str] = Field(default_factory=dict)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    chat_template_kwargs: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _arguments_are_the_templates(self) -> "Prompting":
        for name, value in self.chat_template_kwargs.items():
            if not name.isidentifier() or name in _OWN_ARGUMENTS:
                raise ValueError(
                    f"chat_template_kwargs must not set {name!r}: it takes variables of the chat "
                    "template, such as enable_thinking"
                )
            if not _is_json(value):
                raise ValueError(
                    f"chat_template_kwargs.{name} must be text, a number, true, false, or a list "
                    "or table of these"
                )
        if self.chat_template_kwargs and self.format == "plain":
            raise ValueError("chat_template_kwargs need format = 'chat' or 'auto', not 'plain'")
        return self


def _is_json(value: Any) -> bool:
    match value:
        case dict():
            return all(map(_is_json, value.values()))
        case list() | tuple():
            return all(map(_is_json, value))
    return isinstance(value, str | bool | int | float)


class TargetEngine(Section):
    """What runs the target in a stage: draftmark itself, or vLLM.

    `batch_size` (texts at once) and `dtype` are vLLM's; draftmark itself computes in float32.
    """

    engine: Literal["draftmark", "vllm"] = "draftmark"
    batch_size: Count = 32
    dtype: Dtype = "float32"

    @model_validator(mode="after")
    def _only_vllm_has_settings(self) -> "TargetEngine":
        own = sorted(self.model_fields_set & {"batch_size", "dtype"})
        if self.engine == "draftmark" and own:
            raise ValueError(f"{' and '.join(own)} need engine = 'vllm'; set it, or leave them out")
        return self


class Responses(TargetEngine):
    """What writes the target's texts; what a draft writes alone, draftmark itself writes."""


class Features(TargetEngine):
    """What reads the target's hidden states that are stored; draftmark itself reads live ones."""


class DraftSampling(Section):
    """The draft's sampler where it differs from the target's; None means the target's value."""

    temperature: Annotated[float, Field(ge=0)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None


class Samples(Section):
    """Several sampled responses of the target, and of each draft alone, to a test prompt.

    They give pass@k, and fidelity against diversity.
    """

    count: Annotated[int, Field(ge=2)] = 4
    temperatures: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (1.0,)
    prompts: Count | None = None  # use the first of them [default: all]


class Judge(Section):
    """A judge: a model at an OpenAI-compatible endpoint that picks the better of two responses.

    One is the draft's, the other the target's or the gold answer. `key_variable` names the
    environment variable that holds the key, which is stored nowhere; "" sends no key. `options` are
    further fields of each request.
    """

    endpoint: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    against: Literal["target", "reference"] = "target"
    prompts: Count | None = None
    options: Mapping[str, Any] = {"temperature": 0}

    @model_validator(mode="after")
    def _holds_no_secret(self) -> "Judge":
        """Refuse what may hold a key, without repeating it: recipes are stored and printed."""
        place = urlsplit(self.endpoint)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise ValueError('endpoint must be a URL such as "https://api.openai.com/v1"')
        if place.username or place.password or place.query or place.fragment:
            raise ValueError("endpoint must be a URL without user, password, query or fragment")
        if not re.fullmatch(r"([A-Z_][A-Z0-9_]*)?", self.key_variable):
            raise ValueError(
                "key_variable must name an environment variable in capitals; it is never a key"
            )
        return self

    @property
    def host(self) -> str:
        """The endpoint's host, with its port if it has one."""
        return urlsplit(self.endpoint).netloc


class Evaluation(Section):
    """What is measured: the target's samplers, and the block length that tables show."""

    temperatures: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = (
        0.0,
        1.0,
    )
    top_k: Annotated[int, Field(ge=0)] = 0  # top_k and top_p apply above temperature 0
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
    """The settings of one speed measurement: an engine with the target alone and with the draft."""

    engine: str
    temperature: float
    num_speculative_tokens: int
    blocks: int
    prompts_per_block: int
    dtype: Dtype
    batch_size: int = 1
    length: Length = "natural"
    verification: Verification = "standard"

    @property
    def num_prompts(self) -> int:
        """The number of prompts of all blocks; every block fills at least one batch."""
        return self.blocks * max(self.prompts_per_block, self.batch_size)

    @property
    def label(self) -> str:
        """The condition's unique name in a recipe, as the keys of numbers show it."""
        return f"gamma={self.num_speculative_tokens},{self.terms}"

    @property
    def terms(self) -> str:
        """The label without the block length, for runs that draft nothing."""
        where = f"t={self.temperature:g},batch={self.batch_size},length={self.length}"
        rule = "" if self.verification == "standard" else f",verification={self.verification}"
        return f"engine={self.engine},{where}{rule}"

    def settings(self) -> dict[str, Any]:
        """Return the settings that enter the cache key.

        Fields added later are omitted at their default, so old keys stay valid.
        """
        added = {"batch_size": 1, "length": "natural", "verification": "standard"}
        return {name: value for name, value in asdict(self).items() if added.get(name) != value}


class Speed(Section):
    """Speed measurements: engine runs with the draft, interleaved with the target alone.

    `engine`, `temperature`, `num_speculative_tokens` and `verification` may be lists. Every
    combination of these and `batch_sizes` is measured; the first with the evaluation's block length
    (the default) is the headline. `length`: responses end naturally, or (fixed) all at the length
    limit, ignoring end tokens. `verification`: blocks are accepted token by token (standard) or
    jointly (block). `noise_floor` also times the target against itself; `cost_model` also times the
    draft's and the target's passes by themselves.
    """

    engine: str | Annotated[tuple[str, ...], Field(min_length=1)] = "reference"
    temperature: Temperature | Annotated[tuple[Temperature, ...], Field(min_length=1)] = 0.0
    num_speculative_tokens: Gamma | Annotated[tuple[Gamma, ...], Field(min_length=1)] = 4
    blocks: Annotated[int, Field(ge=2)] = 5
    prompts_per_block: Count = 4
    dtype: Dtype = "float32"
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)
    length: Length = "natural"
    verification: Verification | Annotated[tuple[Verification, ...], Field(min_length=1)] = (
        "standard"
    )
    noise_floor: bool = False
    cost_model: bool = False

    @property
    def engines(self) -> tuple[str, ...]:
        """The names of the engines."""
        return _several(self.engine)

    def conditions(self) -> tuple[SpeedCondition, ...]:
        """Return the conditions of all measurements, in the recipe's order."""
        shared = self.model_dump(include={"blocks", "prompts_per_block", "dtype", "length"})
        return tuple(
            SpeedCondition(
                engine, temperature, gamma, batch_size=size, verification=verification, **shared
            )
            for engine, temperature, verification, size, gamma in itertools.product(
                self.engines,
                _several(self.temperature),
                _several(self.verification),
                self.batch_sizes,
                _several(self.num_speculative_tokens),
            )
        )


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
