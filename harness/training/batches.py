"""Where the texts of a training step come from: they were there before, or the draft writes them.

A step is a number: its rows, whose texts it reads and every token that is drawn for it are a
function of the seed, the step and the weights, so that an interrupted training can go on.

Legend: N supervised position, D hidden size of the target.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch

from draftmark.config.model_sections import Writer
from draftmark.models.generation import Sampling, check_fits, generate, stream
from draftmark.models.hidden_states import (
    StateSource,
    StoredHiddenStates,
    hidden_states,
    right_padded,
    supervised,
)
from draftmark.models.language_model import LanguageModel
from draftmark.training.schedule import order_of_pass
from draftmark.types import Prompt, Text

Share = Callable[[Sequence[int]], Sequence[int]]


@dataclass(frozen=True)
class Batch:
    """What a loss is told of supervised tokens besides the laws: which they are, and when.

    `rows_N` and `positions_N` lead to what a method keeps of a text that was there before. `states`
    are the hidden states that the laws were made of, the draft's with a gradient and the target's.
    """

    labels_N: torch.Tensor  # the token that follows in the text
    positions_N: torch.Tensor  # its place in its response, from 0
    rows_N: torch.Tensor  # the index of its text in `example_ids`
    example_ids: tuple[str, ...]
    step: int  # from 0
    done: float  # how much of the training is done before this step: 0 to 1
    mean: float = math.nan  # of what a survey measured of the whole step's tokens, if one did
    states: tuple[torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def of(cls, texts: Sequence[Text], step: int, done: float, device: torch.device) -> "Batch":
        """Return what there is to know of the responses of texts, one after the other."""
        sizes = [len(text.response_ids) for text in texts]
        return cls(
            torch.tensor([token for text in texts for token in text.response_ids], device=device),
            torch.cat([torch.arange(size) for size in sizes]).to(device),
            torch.arange(len(texts)).repeat_interleave(torch.tensor(sizes)).to(device),
            tuple(text.example_id for text in texts),
            step,
            done,
        )

    def part(self, part: slice) -> "Batch":
        """Return the batch of some of the tokens."""
        return replace(
            self,
            labels_N=self.labels_N[part],
            positions_N=self.positions_N[part],
            rows_N=self.rows_N[part],
        )


@dataclass(frozen=True)
class TrainingBatch:
    """The texts of a step, with the target's hidden states; `live` if it came of models just now.

    hidden_ND is [N, 0] where no target is read. `layers` are the states [T, L, D] of each text at
    all its positions, where a feature head reads them.
    """

    texts: Sequence[Text]
    hidden_ND: torch.Tensor
    live: bool = False
    layers: Sequence[torch.Tensor] = ()


class Source(Protocol):
    """One writer's texts for the training rows."""

    @property
    def lengths(self) -> Sequence[int]:
        """What is known of each row's length beforehand."""

    def lesson(self, rows: Sequence[int], step: int) -> TrainingBatch:
        """Return the texts of some rows."""


@dataclass(frozen=True)
class Fixed:
    """Texts that are there before training, with the target's cached hidden states if need be."""

    texts: Sequence[Text]
    final_states: StoredHiddenStates | None = None
    layer_states: StateSource | None = None

    @property
    def lengths(self) -> Sequence[int]:
        """The lengths of the texts as a model reads them."""
        return [len(text.prompt_ids) + len(text.response_ids) for text in self.texts]

    def lesson(self, rows: Sequence[int], step: int) -> TrainingBatch:
        """Return the texts of some rows."""
        texts = [self.texts[index] for index in rows]
        if self.final_states is None:
            return TrainingBatch(
                texts, torch.empty(sum(len(text.response_ids) for text in texts), 0)
            )
        hidden_ND = torch.cat([self.final_states.last_layer_of(text) for text in texts])
        source = self.layer_states
        layers = [source.states_of(text) for text in texts] if source else ()
        return TrainingBatch(texts, hidden_ND, layers=layers)


@dataclass(frozen=True)
class OnPolicy:
    """Texts that the draft writes as it is at that step, and that the target reads at once.

    Agarwal et al. (2024, GKD, arXiv 2306.13649); for drafts Zhou et al. (2024, DistillSpec, arXiv
    2310.08461). No gradient goes through the sampling. Raises UserError if a prompt does not fit.
    """

    draft: LanguageModel
    target: LanguageModel
    prompts: Sequence[Prompt]
    sampling: Sampling

    def __post_init__(self) -> None:
        for model in (self.draft, self.target):
            check_fits(model, self.prompts, self.sampling.max_new_tokens)

    @property
    def lengths(self) -> Sequence[int]:
        """The lengths of the prompts: no response is there yet."""
        return [len(prompt.token_ids) for prompt in self.prompts]

    def lesson(self, rows: Sequence[int], step: int) -> TrainingBatch:
        """Return responses of the draft's present weights, drawn from a stream of the step."""
        prompts = [self.prompts[index] for index in rows]
        texts = generate(self.draft, prompts, self.sampling_of(step), rows_per_batch=len(prompts))
        read = {text.example_id: states for text, states in hidden_states(self.target, texts)}
        return TrainingBatch(texts, torch.cat([read[text.example_id] for text in texts]), live=True)

    def sampling_of(self, step: int) -> Sampling:
        """Return how the responses of a step are drawn: otherwise at each."""
        return replace(self.sampling, seed=self.sampling.seed * 1_000_003 + step)


@dataclass(frozen=True)
class Texts:
    """The training texts of every writer that has a share of the steps."""

    sources: Mapping[Writer, Source] = field(default_factory=dict)
    shares: Mapping[Writer, float] = field(default_factory=dict)
    seed: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.sources.values())).lengths) if self.sources else 0

    @property
    def live(self) -> bool:
        """Whether the target reads some of the texts only while training goes on."""
        return "draft" in self.sources

    def lesson(
        self, step: int, rows_per_batch: int, share: Share = lambda rows: rows
    ) -> TrainingBatch:
        """Return what step number `step` reads: every row once in a pass, whoever writes it.

        Of the step's rows those are read that `share` takes out; there may be none.
        """
        per_pass = math.ceil(len(self) / rows_per_batch)
        lengths = next(iter(self.sources.values())).lengths
        order = order_of_pass(lengths, rows_per_batch, seed=self.seed, number=step // per_pass)
        writer = self.writer(step)
        rows = share(order[step % per_pass])
        if not rows:
            return TrainingBatch((), torch.empty(0, 0), live=writer == "draft")
        return self.sources[writer].lesson(rows, step)

    def writer(self, step: int) -> Writer:
        """Return whose texts a step reads: drawn by share, from a stream of the step."""
        drawn = torch.rand((), generator=stream(self.seed, "writer", str(step))).item()
        for writer in self.shares:
            drawn -= self.shares[writer]
            if drawn < 0:
                return writer
        return writer  # the shares fell short of 1 by rounding


@runtime_checkable
class LessonReader(Protocol):
    """A draft that reads lessons in its own way."""

    @property
    def depth(self) -> int:
        """K: at how many depths a supervised token is read."""

    def read(self, lesson: TrainingBatch, step: int) -> torch.Tensor:
        """Return states [N, K, D]; what stands where there is no such depth means nothing."""


def read(model: LanguageModel, lesson: TrainingBatch, step: int) -> torch.Tensor:
    """Return a model's states of a lesson's supervised tokens: [N, D], of a reader [N, K, D]."""
    if isinstance(model, LessonReader):
        return model.read(lesson, step)
    states_BTD = model.hidden(*right_padded(lesson.texts, model.device))
    return torch.cat(list(supervised(lesson.texts, states_BTD)))


def depth_of(model: LanguageModel) -> int:
    """Return at how many depths a model reads a supervised token."""
    return model.depth if isinstance(model, LessonReader) else 1
