"""Training batches: the texts of a step, written before training or by the draft.

The rows of a step, the writer of its texts and every token drawn for it are a function of the seed,
the number of the step and the weights, so an interrupted training can resume.

Legend: N supervised position, T position, L layer, D hidden size.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from draftmark.config.model_sections import Writer
from draftmark.models.generation import Sampling, check_fits, generate, random_stream
from draftmark.models.hidden_states import (
    FINAL,
    STORED_DTYPE,
    Positions,
    StateSource,
    StoredHiddenStates,
    check_texts,
    hidden_states,
    read_states,
)
from draftmark.models.language_model import LanguageModel
from draftmark.models.supervised_positions import supervised_positions
from draftmark.training.schedule import order_of_pass
from draftmark.types import Prompt, Text

RowSelection = Callable[[Sequence[int]], Sequence[int]]


@dataclass(frozen=True)
class Batch:
    """The supervised tokens of a step, or of a chunk of it, as a loss receives them."""

    labels_N: torch.Tensor  # the supervised tokens
    positions_N: torch.Tensor  # their positions in their responses, from 0
    rows_N: torch.Tensor  # the indices of their texts in `example_ids`
    example_ids: tuple[str, ...]
    step: int  # from 0
    done: float  # the fraction of the training before this step
    pre_loss_mean: float = math.nan  # the mean of a PreLossPass's values over the whole step
    # Hidden states behind the logits: the draft's, with a gradient, and the target's.
    states: tuple[torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def from_texts(
        cls, texts: Sequence[Text], step: int, done: float, device: torch.device
    ) -> "Batch":
        """Return the batch of the responses of texts, one after the other."""
        sizes = [len(text.response_ids) for text in texts]
        return cls(
            torch.tensor([token for text in texts for token in text.response_ids], device=device),
            torch.cat([torch.arange(size) for size in sizes]).to(device),
            torch.arange(len(texts)).repeat_interleave(torch.tensor(sizes)).to(device),
            tuple(text.example_id for text in texts),
            step,
            done,
        )

    def part(self, part: slice | torch.Tensor) -> "Batch":
        """Return the batch with only the tokens in `part`, a slice or indices."""
        fields = ("labels_N", "positions_N", "rows_N")
        return replace(self, **{name: getattr(self, name)[part] for name in fields})


@dataclass(frozen=True)
class TrainingBatch:
    """The texts of a step, with the target's hidden states."""

    texts: Sequence[Text]
    hidden_ND: torch.Tensor  # [N, 0] in a training without a target
    live: bool = False  # the draft wrote the texts in this step, and the target read them
    target_read: bool = False  # the target read texts that were written before
    layers: Sequence[torch.Tensor] = ()  # states [T, L, D] of each text, for feature heads

    def parts(self, rows: int | None) -> Iterator[tuple["TrainingBatch", slice]]:
        """Yield the batch in parts of at most `rows` texts, with their supervised tokens.

        Without texts, or without `rows`, it is one part.
        """
        size, first = rows or max(1, len(self.texts)), 0
        for start in range(0, max(1, len(self.texts)), size):
            texts, layers = self.texts[start : start + size], self.layers[start : start + size]
            tokens = slice(first, first + sum(len(text.response_ids) for text in texts))
            yield (
                replace(self, texts=texts, hidden_ND=self.hidden_ND[tokens], layers=layers),
                tokens,
            )
            first = tokens.stop


@dataclass(frozen=True)
class FixedTexts:
    """Texts written before training, with the target's stored hidden states if losses need them."""

    texts: Sequence[Text]
    final_states: StoredHiddenStates | None = None
    layer_states: StateSource | None = None

    @property
    def lengths(self) -> Sequence[int]:
        """The number of tokens of each text."""
        return _lengths(self.texts)

    def training_batch(self, rows: Sequence[int], step: int) -> TrainingBatch:
        """Return the texts of the rows with these indices."""
        texts = [self.texts[index] for index in rows]
        if self.final_states is None:
            num_tokens = sum(len(text.response_ids) for text in texts)
            return TrainingBatch(texts, torch.empty(num_tokens, 0))
        hidden_ND = torch.cat([self.final_states.last_layer_of(text) for text in texts])
        source = self.layer_states
        layers = [source.states_of(text) for text in texts] if source else ()
        return TrainingBatch(texts, hidden_ND, layers=layers)


@dataclass(frozen=True)
class LiveTexts:
    """Texts written before training, which the target reads in every step.

    The states are those that `FixedTexts` has from disk, in the same dtype: the final ones, and
    those of `layers` for a feature head. Raises UserError for a text that the target cannot read.
    """

    texts: Sequence[Text]
    target: LanguageModel
    layers: Sequence[int] = ()

    def __post_init__(self) -> None:
        check_texts(self.target, self.texts)

    @property
    def lengths(self) -> Sequence[int]:
        """The number of tokens of each text."""
        return _lengths(self.texts)

    def training_batch(self, rows: Sequence[int], step: int) -> TrainingBatch:
        """Return the texts of the rows with these indices, after the target has read them."""
        texts = [self.texts[index] for index in rows]
        final, layers = self._states(texts)
        return TrainingBatch(texts, torch.cat(final), target_read=True, layers=layers)

    def _states(self, texts: Sequence[Text]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the final states [N, D] of each text, and its layer states [T, L, D]."""
        positions: Positions = "all" if self.layers else "supervised"
        read = read_states(self.target, texts, (*self.layers, *FINAL), positions)
        dtype = getattr(torch, STORED_DTYPE)
        states_of = {text.example_id: states_TLD.to(dtype) for text, states_TLD in read}
        in_order = [states_of[text.example_id] for text in texts]
        if not self.layers:
            return [states_NLD[:, -1] for states_NLD in in_order], []
        final = [
            states_TLD[supervised_positions(text), -1]
            for text, states_TLD in zip(texts, in_order, strict=True)
        ]
        return final, [states_TLD[:, :-1] for states_TLD in in_order]


def _lengths(texts: Sequence[Text]) -> list[int]:
    return [len(text.prompt_ids) + len(text.response_ids) for text in texts]


@dataclass(frozen=True)
class OnPolicyTexts:
    """Texts that the draft writes during training, and that the target reads at once.

    Agarwal et al. (2024, GKD, arXiv 2306.13649); for drafts Zhou et al. (2024, DistillSpec, arXiv
    2310.08461). No gradient flows through the sampling. Raises UserError if a prompt with its
    longest response exceeds a context.
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
        """The lengths of the prompts; responses do not exist yet."""
        return [len(prompt.token_ids) for prompt in self.prompts]

    def training_batch(self, rows: Sequence[int], step: int) -> TrainingBatch:
        """Return responses sampled from the draft's current weights, seeded by the step."""
        prompts = [self.prompts[index] for index in rows]
        sampling = replace(self.sampling, seed=self.sampling.seed * 1_000_003 + step)
        texts = generate(self.draft, prompts, sampling, rows_per_batch=len(prompts))
        states_of = {text.example_id: states for text, states in hidden_states(self.target, texts)}
        return TrainingBatch(
            texts, torch.cat([states_of[text.example_id] for text in texts]), live=True
        )


Source = FixedTexts | LiveTexts | OnPolicyTexts


@dataclass(frozen=True)
class TrainingTexts:
    """The training texts of every writer that has a share of the steps."""

    sources: Mapping[Writer, Source] = field(default_factory=dict)
    shares: Mapping[Writer, float] = field(default_factory=dict)
    seed: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.sources.values())).lengths) if self.sources else 0

    @property
    def live(self) -> bool:
        """True if the target reads some of the texts during training."""
        return any(not isinstance(source, FixedTexts) for source in self.sources.values())

    def check(self, model: LanguageModel) -> None:
        """Raise UserError for a fixed text that a model cannot read (see `check_texts`)."""
        for source in self.sources.values():
            if not isinstance(source, OnPolicyTexts):
                check_texts(model, source.texts)

    def training_batch(
        self, step: int, rows_per_batch: int, share: RowSelection = lambda rows: rows
    ) -> TrainingBatch:
        """Return the texts of a step: each pass reads every row once, whoever writes it.

        `share` selects this process's rows of the step, possibly none.
        """
        per_pass = math.ceil(len(self) / rows_per_batch)
        lengths = next(iter(self.sources.values())).lengths
        order = order_of_pass(lengths, rows_per_batch, seed=self.seed, number=step // per_pass)
        writer = self.writer(step)
        rows = share(order[step % per_pass])
        if not rows:
            read = isinstance(self.sources[writer], LiveTexts)
            live = writer == "draft"
            return TrainingBatch((), torch.empty(0, 0), live=live, target_read=read)
        return self.sources[writer].training_batch(rows, step)

    def writer(self, step: int) -> Writer:
        """Return the writer of a step's texts, drawn by share from a random stream of the step."""
        drawn = torch.rand((), generator=random_stream(self.seed, "writer", str(step))).item()
        for writer in self.shares:
            drawn -= self.shares[writer]
            if drawn < 0:
                return writer
        return writer  # rounding left the sum of the shares below 1
