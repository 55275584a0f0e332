"""The interfaces of methods, drafters, engines and reports."""

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
    Verification,
)

if TYPE_CHECKING:
    import torch

    from draftmark.models.heads.block_layouts import TrainedHead
    from draftmark.models.hidden_states import StateSource, StoredHiddenStates, TargetLogits
    from draftmark.models.language_model import LanguageModel
    from draftmark.models.shapes import Shape
    from draftmark.training.context import Draft, TrainingContext
    from draftmark.training.validation import Criterion


@dataclass(frozen=True)
class EngineSettings:
    """The settings of an engine, the same with a draft and without.

    `batch_size`: the number of prompts decoded at once. `fixed_length`: every response has exactly
    `max_new_tokens` tokens, with `end_tokens` and `stop` removed. `verification`: the rule by which
    the target accepts sampled drafts; it makes no difference to other drafts.
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
    verification: Verification = "standard"

    def __post_init__(self) -> None:
        """Remove the other stop conditions of responses of fixed length."""
        if self.fixed_length:
            object.__setattr__(self, "end_tokens", frozenset())
            object.__setattr__(self, "stop", None)

    def draft_placement(self, target: Path, draft: Path) -> Placement:
        """Return where a draft is loaded: whole, unless the target drafts for itself."""
        return self.placement if draft == target else self.placement.whole


class Session(Protocol):
    """A draft at work on one prompt; engines that loop in Python open a session per prompt."""

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return at most `num_tokens` tokens that may follow `token_ids`, the whole text so far."""


@runtime_checkable
class FeatureSession(Session, Protocol):
    """A session of a draft that reads the target's features; engines pass them to `observe`."""

    layers: tuple[int, ...]  # of the target; layer k is the output of k layers

    def observe(self, states_TLD: torch.Tensor) -> None:
        """Append the states [T, L, D] of the tokens that the target has read and kept, in order."""


class Drafter(Protocol):
    """A draft, for scoring and for engines that loop in Python."""

    def score(
        self, texts: Sequence[Text], target: TargetLogits, samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text, which the target wrote with its sampler."""

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: torch.Generator
    ) -> Session:
        """Return a prefilled session for one prompt, which draws tokens with `generator`."""


@runtime_checkable
class DraftsBlocks(Drafter, Protocol):
    """A drafter that proposes a block in one pass, of at most `block_size` tokens."""

    @property
    def block_size(self) -> int:
        """The number of tokens of a whole block."""


class Method(Protocol):
    """A published method: a frozen dataclass whose fields are its knobs."""

    kind: ClassVar[Kind]
    trains: ClassVar[bool]  # False: rows and training settings have no effect

    def train(self, context: TrainingContext) -> Draft:
        """Return the draft trained from the context's draft init and rows."""

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return the drafter of the trained draft in a folder."""


@runtime_checkable
class FeatureMethod(Method, Protocol):
    """A method whose draft is a head on the target's features."""

    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return the layers that the head reads in a target of `num_layers` layers."""

    def head(self, target: LanguageModel, texts: Sequence[Text], seed: int) -> LanguageModel:
        """Return the untrained head for a complete target; `texts` are the training texts."""

    def criterion(
        self, target: LanguageModel, validation: StoredHiddenStates, states: StateSource
    ) -> Criterion:
        """Return the criterion that selects a checkpoint."""


@runtime_checkable
class StartsFromHead(Protocol):
    """A method whose draft may be a head that was trained before, perhaps by other code."""

    def start_from(self, head: TrainedHead) -> FeatureMethod:
        """Return the method with the head's own architecture.

        Raises ValueError, with the reason, if the method cannot start from this head.
        """


@runtime_checkable
class SizedMethod(FeatureMethod, Protocol):
    """A method that reports the shape of its head to the planner; others have one layer."""

    def draft_shape(self, target: Shape, config: Mapping[str, Any]) -> Shape:
        """Return the shape of the head for a target of that shape and config."""


@runtime_checkable
class LookupMethod(Method, Protocol):
    """A method that drafts by looking up n-grams, which engines implement themselves."""

    max_ngram: int
    min_ngram: int


@runtime_checkable
class SuffixMethod(Method, Protocol):
    """A method that drafts by a suffix tree, which vLLM imports from Arctic Inference."""

    max_depth: int
    max_spec_factor: float
    min_token_prob: float


@runtime_checkable
class ParallelMethod(Method, Protocol):
    """A method whose draft reads mask tokens; vLLM drafts its block in one pass if asked to."""

    parallel_drafting: ClassVar[bool]


@runtime_checkable
class Planned(Protocol):
    """A method that reports its training runs to the planner; other methods count as one run."""

    def training_runs(self, run: TrainingRun) -> tuple[TrainingRun, ...]:
        """Return the training runs that make a draft, given the recipe's run."""


class Running(Protocol):
    """An engine with its models loaded."""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[Decode]:
        """Yield the decode of each prompt, in order."""


@runtime_checkable
class Described(Running, Protocol):
    """An engine that describes its settings, including pinned defaults."""

    def describe(self) -> Mapping[str, Any]:
        """Return settings that JSON can hold."""


class Engine(Protocol):
    """An engine that decodes prompts, with a draft or without."""

    def supports(self, kind: Kind) -> bool:
        """True if the engine runs drafts of this kind."""

    def open(
        self, target: Path, method: Method | None, draft: Path | None, settings: EngineSettings
    ) -> Running:
        """Load the target, and a method's draft if given; raises Unsupported for some settings."""


class Report(Protocol):
    """A rendering of results into files."""

    def __call__(self, results: Results, directory: Path) -> Mapping[str, str | bytes]:
        """Return each file's text or image bytes, by name; `directory` has the records."""
