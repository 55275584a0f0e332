"""What a training costs: each step is charged to the ledger.

FLOPs are an estimate of what the draft and the target's head do (see `flops`). What the target's
body reads, before training or live, is listed by its tokens.
"""

import ctypes
import resource
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from draftmark.models.language_model import LanguageModel
from draftmark.training.flops import Weights, of_step
from draftmark.types import Ledger, Text


def tokens_read(texts: Iterable[Text]) -> int:
    """Return how many tokens go through a model that reads or writes texts: all but the last."""
    return sum(len(text.prompt_ids) + len(text.response_ids) - 1 for text in texts)


@dataclass(frozen=True)
class Work:
    """What a step did: the texts of all processes, and what was done with them.

    `live`: the draft wrote them, and the target read them at once. `surveyed`: every head gave its
    logits once more, without a gradient. `compared`: a reference of the draft's shape read the
    texts as well. `depth`: at how many depths the draft read each supervised token.
    """

    texts: Sequence[Text]
    depth: int = 1
    live: bool = False
    surveyed: bool = False
    compared: bool = False


def charge(
    ledger: Ledger,
    work: Work,
    draft: LanguageModel,
    target: LanguageModel | None,
    seconds: float,
) -> Ledger:
    """Add one step to the ledger; `target` is whose head gave the laws, if one did."""
    supervised = sum(len(text.response_ids) for text in work.texts)
    read = tokens_read(work.texts)
    head = draft.model.get_output_embeddings().weight
    embedding = draft.model.get_input_embeddings().weight.numel()
    tied = draft.model.config.tie_word_embeddings
    body = draft.model.num_parameters() - embedding - (0 if tied else head.numel())
    of_target = target.model.get_output_embeddings().weight.numel() if target else 0
    weights = Weights(body, head.numel(), of_target, head.requires_grad)
    flops = of_step(
        weights,
        read,
        supervised,
        live=work.live,
        surveyed=work.surveyed,
        compared=work.compared,
        depth=work.depth,
    )
    return replace(
        ledger,
        steps=ledger.steps + 1,
        rows=ledger.rows + len(work.texts),
        supervised_tokens=ledger.supervised_tokens + supervised,
        generated_tokens=ledger.generated_tokens + (supervised if work.live else 0),
        target_forward_tokens=ledger.target_forward_tokens + (read if work.live else 0),
        reference_forward_tokens=ledger.reference_forward_tokens + (read if work.compared else 0),
        flops=ledger.flops + flops,
        train_s=ledger.train_s + seconds,
    )


def peak_bytes() -> int:
    """Return the most memory that this process, or its GPU, has held so far."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts kilobytes, but bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE_BYTES = 1 << 20


def return_large_blocks() -> None:
    """Let the C library map each large block by itself, from here on in this process.

    Left alone, glibc learns from the first large tensors that are freed to keep blocks of up to
    32 MiB in its heap, where those of a training step leave gaps that the next step's do not fit:
    a third of a training's peak on a processor. Other C libraries are left as they are.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
