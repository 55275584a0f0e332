"""The ledger of a training: each step is charged to it.

FLOPs estimate the work of the draft and the target's head (`training.flops`). The work of the
target's body, before or during training, is counted in tokens.
"""

import ctypes
import resource
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from draftmark.models.language_model import LanguageModel
from draftmark.models.large_weights import LARGE_BYTES
from draftmark.models.supervised_positions import num_positions
from draftmark.training.flops import StepKind, WeightCounts, step_flops
from draftmark.training.lora import adapter_weights
from draftmark.types import Ledger, Text

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_FREE_BYTES = 128 << 20


def tokens_read(texts: Iterable[Text]) -> int:
    """Return the number of tokens that a model reads of texts: all but each text's last."""
    return sum(map(num_positions, texts))


def charge_step(
    ledger: Ledger,
    texts: Sequence[Text],
    kind: StepKind,
    draft: LanguageModel,
    target: LanguageModel | None,
    seconds: float,
) -> Ledger:
    """Return the ledger after one more step of all processes on texts.

    `target` is None if the loss needs no target logits.
    """
    supervised, read = sum(len(text.response_ids) for text in texts), tokens_read(texts)
    head = draft.model.get_output_embeddings().weight
    embedding = draft.model.get_input_embeddings().weight.numel()
    tied = draft.model.config.tie_word_embeddings
    adapters = adapter_weights(draft.model)
    body = draft.model.num_parameters() - adapters - embedding - (0 if tied else head.numel())
    target_head = target.model.get_output_embeddings().weight.numel() if target else 0
    weights = WeightCounts(body, head.numel(), target_head, head.requires_grad, adapters)
    flops = step_flops(weights, read, supervised, kind)
    return replace(
        ledger,
        steps=ledger.steps + 1,
        rows=ledger.rows + len(texts),
        supervised_tokens=ledger.supervised_tokens + supervised,
        generated_tokens=ledger.generated_tokens + (supervised if kind.live else 0),
        target_forward_tokens=ledger.target_forward_tokens
        + (read if kind.live or kind.target_reads else 0),
        reference_forward_tokens=ledger.reference_forward_tokens + (read if kind.compared else 0),
        flops=ledger.flops + flops,
        train_s=ledger.train_s + seconds,
    )


def peak_bytes() -> int:
    """Return the peak memory so far of this process, or of its GPU, in bytes."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts kilobytes, but bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def keep_freed_blocks() -> None:
    """Make glibc keep the memory of freed tensors for the next ones, from here on.

    By default glibc returns large blocks to the system when they are freed, and Linux maps and
    clears every page again: a third of a training's processor time in bfloat16 (SmolLM2, on a
    virtual machine). Blocks of 32 MiB or more still return at once; they would leave gaps, and
    `large_weights` keeps those that every step needs. Other C libraries are unchanged.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _FREE_BYTES)
