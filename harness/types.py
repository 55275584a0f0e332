"""The nouns. Raw facts are stored, rates are derived: no type here holds a rate.

Legend of array suffixes: S start of a block, D depth within it (0 is the first drafted token).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch


Row = Mapping[str, Any]
Turn = dict[str, str]
Split = Literal["train", "validation", "test", "prompt"]
Kind = Literal["language_model", "feature_head", "training_free"]
FinishReason = Literal["stop", "stop_string", "length"]
MAX_GAMMA = 32  # the longest block that is scored
Arm = Literal["target", "draft"]


@dataclass(frozen=True)
class Example:
    """One item of a task: what is asked, the gold answer, and what grading needs.

    `meta["question"]` is what tells it apart, where the last turn holds more than that.
    """

    id: str  # stable: "gsm8k/test/17"
    messages: tuple[Turn, ...]
    reference: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HubData:
    """A data set on the Hugging Face hub, pinned; `splits` maps ours to slices of theirs."""

    path: str
    name: str
    revision: str
    splits: Mapping[Split, str]


class ProgramRunner(Protocol):
    """What runs model-written programs: `draftmark.grading.sandbox.Sandbox`."""

    def run_many(self, programs: Sequence[Any]) -> Sequence[Any]:
        """Return the outcome of each program, in order."""


@dataclass(frozen=True)
class Task:
    """A task: where its rows are, how a row becomes an example, how an answer is graded.

    `to_example` raises ValueError on a malformed row; `grade` returns scores in 0..1. A task whose
    answers are programs has `grade_programs`, which runs them all in a given sandbox.
    """

    name: str
    version: int
    hub: HubData
    samples: Path  # the project's own rows
    columns: tuple[str, ...]
    to_example: Callable[[str, Row], Example]
    grade: Callable[[Example, str], dict[str, float]]
    headline: str  # the score that a leaderboard shows
    max_new_tokens: int
    pass_or_fail: bool = False  # the headline is 1 or 0: pass@k of several responses is defined
    # Which of the scores only tell how a response ended, 1 or 0 each, and what each one means.
    outcomes: Mapping[str, str] = field(default_factory=dict)
    grade_programs: (
        Callable[[Sequence[tuple[Example, str]], ProgramRunner], list[dict[str, float]]] | None
    ) = None
    left_out: Callable[[Row], str | None] = lambda row: None  # by what rule a row is no example
    folder: str = ""  # in a data directory, where that is not the task's name
    stop: tuple[str, ...] = ()  # what a base model writes after its answer, and no answer holds
    shots_from: Split = "train"  # whose first rows are solved examples, where a recipe wants them
    styles: Mapping[str, Callable[[Example], Example]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sampler:
    """How a token is drawn: logits over the temperature, cut to the top k, then to the top p.

    At temperature 0 it is the first choice, whatever the rest says. `top_k` 0 and `top_p` 1 cut
    nothing; the order is that of transformers and vLLM.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def describe(self) -> str:
        """Return the sampler in words, as labels print it."""
        cuts = [f"top-k {self.top_k}"] if self.top_k else []
        cuts += [f"top-p {self.top_p:g}"] if self.top_p < 1 else []
        return ", ".join([f"temperature {self.temperature:g}", *(cuts if self.temperature else [])])


GREEDY = Sampler(0.0)


@dataclass(frozen=True)
class Samplers:
    """How target and draft draw their tokens: two settings, for engines may part them."""

    target: Sampler
    draft: Sampler


@dataclass(frozen=True)
class Text:
    """A prompt and the response that follows it, as token ids; the response holds its end token."""

    example_id: str
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    finish_reason: FinishReason = "stop"


@dataclass(frozen=True)
class Prompt:
    """What an engine is asked to continue."""

    example_id: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True)
class Round:
    """One draft and one verifying pass of the target. A plain target pass has drafted = 0."""

    drafted: int
    accepted: int


@dataclass(frozen=True)
class Decode:
    """What an engine did with one prompt. `token_ids` ends at the first end token, included."""

    example_id: str
    token_ids: tuple[int, ...]
    num_prompt_tokens: int
    rounds: tuple[Round, ...]
    prefill_s: float
    decode_s: float
    finish_reason: FinishReason
    first_token_s: float | None = None  # since the prompt was given, where the engine tells

    @property
    def target_passes(self) -> int:
        """Passes of the target after prefill."""
        return len(self.rounds)


@dataclass(frozen=True)
class TimedDecode:
    """A decode with where in the measurement it was made."""

    arm: Arm
    block: int
    repeat: int  # 0 or 1: the first or the second time that this arm ran in its block
    decode: Decode


@dataclass(frozen=True)
class AcceptanceTable:
    """How likely each drafted token of one prompt's output is to be accepted (DESIGN section 4).

    accept_SD[s, j]: probability, given the text y, that the token drafted at depth j of a block
    starting at s is accepted; drafted_S[s]: how many tokens the method would draft there, at most
    D and never past the end of y. overlap_S and greedy_match_S describe the draft's law at depth 0:
    the sum of min(p, q), and whether the two most likely tokens agree.
    """

    example_id: str
    accept_SD: np.ndarray[Any, np.dtype[np.float64]]
    drafted_S: np.ndarray[Any, np.dtype[np.int64]]
    overlap_S: np.ndarray[Any, np.dtype[np.float64]]
    greedy_match_S: np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Ledger:
    """What a draft cost to train. Zero where nothing was done.

    `generated_tokens`: those that the draft wrote itself, to be trained on.
    """

    steps: int = 0
    rows: int = 0
    supervised_tokens: int = 0
    generated_tokens: int = 0
    target_forward_tokens: int = 0
    reference_forward_tokens: int = 0
    flops: float = 0.0
    train_s: float = 0.0
    peak_bytes: int = 0

    def __add__(self, other: Ledger) -> Ledger:
        """Return what two trainings cost, one after the other: of memory, the larger peak."""
        names = [each.name for each in fields(self)]
        total = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Ledger(**{**total, "peak_bytes": max(self.peak_bytes, other.peak_bytes)})


@dataclass(frozen=True)
class TrainingRun:
    """One training of those that make a draft, as a plan counts it.

    `compared`: at each step a reference of the draft's shape reads the texts as well. `depth`: at
    how many depths it reads each supervised token.
    """

    passes: float
    rows_per_batch: int
    compared: bool = False
    depth: int = 1


@dataclass(frozen=True)
class Proposal:
    """Drafted tokens and the law q_GV that each was drawn from; None if they were not drawn.

    Of a tree, `parents` has the index of the token that each one follows, -1 for the text so far;
    otherwise they follow one another.
    """

    token_ids: tuple[int, ...]
    q_GV: torch.Tensor | None = None
    parents: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Placement:
    """How a model is held: where, in which numbers, and whether code that came with it may run."""

    device: str = "cpu"
    dtype: str = "float32"
    trust_remote_code: bool = False
