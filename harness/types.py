"""The types that all packages share. They hold raw facts, never rates: rates are derived.

Array suffixes: S start of a block, D depth in the block (0 is the first drafted token).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
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
MAX_GAMMA = 32  # largest number of drafted tokens per block
Arm = Literal["target", "draft"]
# How the target accepts a block: token by token, or jointly (`speculation.verification`).
Verification = Literal["standard", "block"]
_TURN = re.compile(r"/turn-\d+$")


@dataclass(frozen=True)
class Example:
    """One prompt of a task: its chat turns, its gold answer, and facts for grading.

    A later turn of a conversation is an example of its own. `follows` is then the id of the turn
    before it: the prompt holds the turns of that example and the target's answer before its own.
    """

    id: str  # stable: "gsm8k/test/17", or "mt_bench/test/3/turn-2" in a conversation
    messages: tuple[Turn, ...]
    reference: str = ""  # empty if the row has none
    # For grading; "question" is the bare question if the last turn holds more.
    meta: Mapping[str, Any] = field(default_factory=dict)
    category: str = ""  # tables show each category of a task by itself
    follows: str = ""


def conversation_of(example_id: str) -> str:
    """Return the id of an example's conversation: the example's own id if it has one turn."""
    return _TURN.sub("", example_id)


@dataclass(frozen=True)
class HubData:
    """A pinned data set on the Hugging Face hub, in files of parquet or JSON Lines.

    `splits` maps the project's splits to slices of the data set's, such as "train[:-300]". `files`
    is the pattern of a split's files, such as "main/{split}-*.parquet".
    """

    path: str
    files: str
    revision: str  # a whole commit
    splits: Mapping[Split, str]


class ProgramRunner(Protocol):
    """Runs model-written programs; see `draftmark.grading.sandbox.Sandbox`."""

    def run_many(self, programs: Sequence[Any]) -> Sequence[Any]:
        """Return the outcomes of the programs, in order."""


@dataclass(frozen=True)
class Task:
    """A task: where its rows are, how a row becomes an example, how an answer is graded.

    The rows come from `files` or the function `rows` where a task has these, else from the hub, a
    data directory or `samples`. `to_example` returns one example, or the turns of a conversation;
    it raises ValueError on a malformed row. `grade` returns scores in 0..1; `grade_programs`
    replaces it where answers are programs that need a sandbox. A task with neither has no grades.
    """

    name: str
    version: int
    to_example: Callable[[str, Row], Example | Sequence[Example]]
    max_new_tokens: int
    hub: HubData | None = None
    samples: Path | None = None  # the folder of rows that come with the task
    files: Mapping[Split, Path] = field(default_factory=dict)
    rows: Callable[[Split], Iterable[Row]] | None = None
    columns: tuple[str, ...] = ()  # columns of a row that must hold text
    list_columns: tuple[str, ...] = ()  # columns of a row that must hold a list with items
    grade: Callable[[Example, str], dict[str, float]] | None = None
    headline: str = ""  # the score that a leaderboard shows
    pass_or_fail: bool = False  # the headline is 0 or 1, so pass@k of several responses is defined
    # Scores of 0 or 1 that only describe how a response ended -> their meanings.
    outcomes: Mapping[str, str] = field(default_factory=dict)
    grade_programs: (
        Callable[[Sequence[tuple[Example, str]], ProgramRunner], list[dict[str, float]]] | None
    ) = None
    left_out: Callable[[Row], str | None] = lambda row: None  # the reason to skip a row, or None
    folder: str = ""  # the task's folder in a data directory [default: its name]
    stop: tuple[str, ...] = ()  # strings that a base model writes after its answer, never in it
    shots_from: Split = "train"  # the split whose first rows are the solved examples of a prompt
    styles: Mapping[str, Callable[[Example], Example]] = field(default_factory=dict)
    layout: Callable[[Row], Row] = lambda row: row  # a source's row -> a row of the task's columns
    format_of: Callable[[Row], str] | None = None  # the name of a row's format, if there are many
    lines_of_text: bool = False  # each line of the files is a prompt, whatever their suffix

    @property
    def is_graded(self) -> bool:
        """True if answers are graded."""
        return self.grade is not None or self.grade_programs is not None


@dataclass(frozen=True)
class Sampler:
    """How a token is drawn: logits / temperature, cut to the top k, then to the top p.

    The order is that of transformers and vLLM. Temperature 0 takes the most likely token, whatever
    the cuts; `top_k` 0 and `top_p` 1 cut nothing.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def describe(self) -> str:
        """Return the sampler in words, for labels."""
        cuts = [f"top-k {self.top_k}"] if self.top_k else []
        cuts += [f"top-p {self.top_p:g}"] if self.top_p < 1 else []
        return ", ".join([f"temperature {self.temperature:g}", *(cuts if self.temperature else [])])


GREEDY = Sampler(0.0)


@dataclass(frozen=True)
class Samplers:
    """The samplers of target and draft, which may differ."""

    target: Sampler
    draft: Sampler


@dataclass(frozen=True)
class Text:
    """Token ids of a prompt and of the response to it, which includes its end token."""

    example_id: str
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    finish_reason: FinishReason = "stop"


@dataclass(frozen=True)
class Prompt:
    """Token ids that an engine continues."""

    example_id: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True)
class Round:
    """One draft and one verifying pass of the target; drafted is 0 for a plain target pass.

    Tokens drafted beyond the end of a text count as drafted, never as accepted.
    """

    drafted: int
    accepted: int


@dataclass(frozen=True)
class Decode:
    """An engine's output for one prompt; `token_ids` ends with the first end token."""

    example_id: str
    token_ids: tuple[int, ...]
    num_prompt_tokens: int
    rounds: tuple[Round, ...]
    prefill_s: float
    decode_s: float
    finish_reason: FinishReason
    first_token_s: float | None = None  # from the request to the first token, if known

    @property
    def target_passes(self) -> int:
        """The number of target passes after prefill."""
        return len(self.rounds)


@dataclass(frozen=True)
class TimedDecode:
    """A decode with its place in the measurement."""

    arm: Arm
    block: int
    repeat: int  # 0 or 1: the arm's first or second run of the block
    decode: Decode


@dataclass(frozen=True)
class AcceptanceTable:
    """Acceptance probabilities of the tokens drafted along one response y.

    accept_SD[s, j]: probability, given y, that the token drafted at depth j of a block that starts
    at s is accepted; it has no meaning past the end of y. drafted_S[s]: number of tokens that the
    draft proposes there, at most D; no draft knows where y ends. At depth 0, overlap_S is the sum
    over the vocabulary of min(p, q), and greedy_match_S is 1 where target and draft have the same
    most likely token.

    `limit`: the largest number of tokens that y could have, which an engine knows ahead. None if
    unknown: then nothing past the end of y counts as drafted. `nodes`: for a tree, the number of
    drafted tokens of a block cut to depth 1, 2 ...; None for a chain.

    If the draft was sampled, greedy_SD and greedy_overlap_S are accept_SD and overlap_S of the same
    draft when it drafts its most likely token, at the same temperature of the target.

    ratio_SD[s, j] is q(y) / p(y) of the same token, so accept_SD is min(1, ratio_SD). Block
    verification needs it. None if every accept_SD is 0 or 1 (then both rules accept the same), and
    in tables of old versions.

    `proposed_S`: for a draft whose number of tokens depends on what it drafts, the number drafted
    at each start in one draw from the draft; drafted_S is then the number as long as the drafted
    tokens equal y. None if both are the same.
    """

    example_id: str
    accept_SD: np.ndarray[Any, np.dtype[np.float64]]
    drafted_S: np.ndarray[Any, np.dtype[np.int64]]
    overlap_S: np.ndarray[Any, np.dtype[np.float64]]
    greedy_match_S: np.ndarray[Any, np.dtype[np.float64]]
    limit: int | None = None
    nodes: tuple[int, ...] | None = None
    greedy_SD: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    greedy_overlap_S: np.ndarray[Any, np.dtype[np.float64]] | None = None
    ratio_SD: np.ndarray[Any, np.dtype[np.float64]] | None = None
    proposed_S: np.ndarray[Any, np.dtype[np.int64]] | None = None


@dataclass(frozen=True)
class Ledger:
    """The cost of training a draft; zero where nothing was done."""

    steps: int = 0
    rows: int = 0
    supervised_tokens: int = 0
    generated_tokens: int = 0  # training text that the draft wrote itself
    target_forward_tokens: int = 0
    reference_forward_tokens: int = 0
    flops: float = 0.0
    train_s: float = 0.0
    peak_bytes: int = 0

    def __add__(self, other: Ledger) -> Ledger:
        """Return the cost of both trainings in turn: sums, and the larger memory peak."""
        names = [each.name for each in fields(self)]
        total = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Ledger(**{**total, "peak_bytes": max(self.peak_bytes, other.peak_bytes)})


@dataclass(frozen=True)
class TrainingRun:
    """One of the trainings that make a draft, as the planner counts it."""

    passes: float
    rows_per_batch: int
    compared: bool = False  # a reference model of the draft's shape reads every batch as well
    depth: float = 1  # how often each supervised token is read, in the mean


@dataclass(frozen=True)
class Proposal:
    """Drafted tokens, with the draft probabilities q_GV that they were drawn from.

    q_GV is None if the tokens were not sampled. For a tree, `parents` holds the index of the token
    that each one follows (-1: the text so far); None for a chain.
    """

    token_ids: tuple[int, ...]
    q_GV: torch.Tensor | None = None
    parents: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Placement:
    """How a model is loaded: device, dtype, and whether code from its repository may run.

    `memory`: a target is spread over GPUs, processor and disk, and takes at most so much of each
    device, such as (("0", "70GiB"), ("cpu", "8GiB")). None: a model is whole, on `device`.
    """

    device: str = "cpu"
    dtype: str = "float32"
    trust_remote_code: bool = False
    memory: tuple[tuple[str, str], ...] | None = None

    @property
    def whole(self) -> Placement:
        """The placement of a draft beside a target."""
        return replace(self, memory=None)
