"""The seams: what a method, a drafter, an engine and a report have to offer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from draftmark.models.stop_conditions import StopStrings
from draftmark.results import Results
from draftmark.types import (
    AcceptanceTable,
    Decode,
    Kind,
    Placement,
    Prompt,
    Proposal,
    Sampler,
    Samplers,
    Text,
    TrainingRun,
)

if TYPE_CHECKING:
    import torch

    from draftmark.models.hidden_states import StateSource, StoredHiddenStates, TargetLogits
    from draftmark.models.language_model import LanguageModel
    from draftmark.training.context import Draft, TrainingContext
    from draftmark.training.validation import Criterion


@dataclass(frozen=True)
class EngineSettings:
    """How an engine decodes: the same with a draft and without.

    `batch_size`: how many prompts are decoded at once. `fixed_length`: nothing ends a response but
    its length; there are no `end_tokens` and no `stop` then, and it has exactly `max_new_tokens`.
    """

    samplers: Samplers
    num_speculative_tokens: int
    max_new_tokens: int
    end_tokens: frozenset[int]
    seed: int
    placement: Placement
    stop: StopStrings | None = None
    batch_size: int = 1
    fixed_length: bool = False

    def __post_init__(self) -> None:
        """Take away what ends a response of a fixed length."""
        if self.fixed_length:
            object.__setattr__(self, "end_tokens", frozenset())
            object.__setattr__(self, "stop", None)


class Session(Protocol):
    """A draft at work on one prompt; engines that loop in Python hold one for each prompt."""

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return at most `num_tokens` tokens to follow `token_ids`, the whole text so far."""


@runtime_checkable
class FeatureSession(Session, Protocol):
    """A session of a draft that reads the target's features: engines show it what they computed."""

    layers: tuple[int, ...]  # whose states it reads: k is what comes out of k layers

    def observe(self, states_TLD: torch.Tensor) -> None:
        """Take the states [T, L, D] of the tokens that the target has read and kept, in order."""


class Drafter(Protocol):
    """What proposes: a draft made usable by scoring and by engines that loop in Python."""

    def score(
        self, texts: Sequence[Text], target: TargetLogits, samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text, which the target wrote by its sampler."""

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: torch.Generator
    ) -> Session:
        """Return a session for one prompt, prefilled; what it drafts is drawn by `generator`."""


class Method(Protocol):
    """A published method: a frozen dataclass whose fields are its knobs."""

    kind: ClassVar[Kind]
    trains: ClassVar[bool]  # False: rows and training settings do not matter

    def train(self, context: TrainingContext) -> Draft:
        """Return the draft that this method makes of the context's draft init and rows."""

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return what proposes, of the folder that the trained draft was saved in."""


@runtime_checkable
class FeatureMethod(Method, Protocol):
    """A method whose draft is a head on the target's features."""

    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return whose states the head reads, of a target with so many layers."""

    def head(self, target: LanguageModel, texts: Sequence[Text], seed: int) -> LanguageModel:
        """Return the untrained head for a target, whose body is there; `texts` are its rows'."""

    def criterion(
        self, target: LanguageModel, validation: StoredHiddenStates, states: StateSource
    ) -> Criterion:
        """Return what checkpoints are chosen by."""


@runtime_checkable
class LookupMethod(Method, Protocol):
    """A method that drafts by looking up n-grams, which engines do by themselves."""

    max_ngram: int
    min_ngram: int


@runtime_checkable
class Planned(Protocol):
    """A method that tells a plan what it trains; of others it is taken for one training."""

    def training_runs(self, told: TrainingRun) -> tuple[TrainingRun, ...]:
        """Return the trainings that make a draft where a recipe tells of one."""


class Running(Protocol):
    """An engine with its models loaded."""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[Decode]:
        """Yield what was decoded for each prompt, in order."""


@runtime_checkable
class Described(Running, Protocol):
    """An engine that tells what it was started with, its pinned defaults among it."""

    def describe(self) -> Mapping[str, Any]:
        """Return settings that JSON can hold."""


class Engine(Protocol):
    """Something that generates text, with a draft or without."""

    def supports(self, kind: Kind) -> bool:
        """Say whether drafts of this kind run here."""

    def open(
        self, target: Path, method: Method | None, draft: Path | None, settings: EngineSettings
    ) -> Running:
        """Load the target, and the draft of a method if one is given."""


class Report(Protocol):
    """A rendering of results: file names and what is in them."""

    def __call__(self, results: Results, directory: Path) -> Mapping[str, str | bytes]:
        """Return the text of each file, or the bytes of an image.

        `directory` holds the per-prompt records.
        """
