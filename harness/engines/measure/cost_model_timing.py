"""Times the passes of a block by themselves: the draft's step, the target's verifying pass.

The times exclude an engine's own work (Python, sampling, scheduling), so the speedup predicted from
them differs from the measured one by the engine's overhead. A pass of a language model, as target
or draft, reads `width` tokens of each text of a batch after a context. For any other draft, its
session's proposals of every block length are timed, one text at a time: a block in one pass costs
about the same whatever its length.

Legend: B text of a batch, T position, D hidden size.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from transformers import DynamicCache

from draftmark.engines.measure.timing import synchronised_time
from draftmark.models.generation import random_stream
from draftmark.models.growing_cache import growing_cache
from draftmark.models.kv_cache import CachedModel
from draftmark.models.language_model import LanguageModel, load_model
from draftmark.speculation.interfaces import (
    Drafter,
    DraftsBlocks,
    FeatureSession,
    Method,
    Session,
)
from draftmark.speculation.language_model_drafter import LanguageModelDrafter
from draftmark.speculation.tree_drafter import TreeDrafter
from draftmark.store.speed_records import TimedPass
from draftmark.types import GREEDY, Arm, Placement

REPEATS = 7  # timed runs of every pass, in turns, after a discarded run
_FIRST_TOKEN = 5  # contexts skip the first ids, which are mostly special tokens


@torch.inference_mode()
def time_passes(
    folders: Mapping[str, Path],
    method: Method,
    placement: Placement,
    *,
    batch_sizes: Sequence[int],
    longest_block: int,
    contexts: Sequence[int],
) -> list[TimedPass]:
    """Return the timed passes of blocks of up to `longest_block` tokens after each context length.

    The first context is also timed as a prefill; `folders` has "target" and "draft".
    """
    target = load_model(folders["target"], placement)
    drafter = method.drafter(folders["draft"], placement.whole)
    passes: list[_Measured] = []
    for batch_size in batch_sizes:
        passes += _model_passes("target", target, batch_size, contexts, longest_block + 1)
        if isinstance(drafter, LanguageModelDrafter):
            passes += _model_passes("draft", drafter.model, batch_size, contexts, 1)
    if not isinstance(drafter, LanguageModelDrafter) and 1 in batch_sizes:
        for length in contexts:
            passes += _session_passes(drafter, target, length, longest_block)
    for _, measure in passes:
        measure()
    return [
        replace(part, repeat=repeat, seconds=measure())
        for repeat in range(REPEATS)
        for part, measure in passes
    ]


_Measured = tuple[TimedPass, Callable[[], float]]  # a pass, and the function that times it


def _model_passes(
    arm: Arm, model: LanguageModel, batch_size: int, contexts: Sequence[int], widest: int
) -> Iterator[_Measured]:
    """Yield a model's prefill of the first context, and its passes over 1 to `widest` tokens."""
    shapes = [(0, contexts[0])]
    shapes += [(context, width) for context in contexts for width in range(1, widest + 1)]
    for context, width in shapes:
        part = TimedPass(arm, 0, batch_size, context, width, 0.0)
        yield part, _timer(model, part)


def _timer(model: LanguageModel, part: TimedPass) -> Callable[[], float]:
    """Return the function that times a pass in seconds; its first call makes the cache."""
    kept: list[DynamicCache] = []

    def measure() -> float:
        if not kept:
            kept.append(growing_cache(model.model.config))
            kept[0].activate_past_recording()  # `crop` of sliding windows needs it
            if part.context:
                _forward(model, _ids(model, part.batch_size, part.context), kept[0], 1)
        ids_BT = _ids(model, part.batch_size, part.width)
        heads = part.width if part.context else 1  # a prefill needs only the last token's logits
        seconds = _timed(model, lambda: _forward(model, ids_BT, kept[0], heads))
        kept[0].crop(-part.width)
        return seconds

    return measure


def _forward(model: LanguageModel, ids_BT: torch.Tensor, cache: DynamicCache, heads: int) -> None:
    read = model.model.base_model(input_ids=ids_BT, past_key_values=cache, use_cache=True)
    model.logits(read.last_hidden_state[:, -heads:])


def _session_passes(
    drafter: Drafter, target: LanguageModel, context: int, longest_block: int
) -> Iterator[_Measured]:
    """Yield the proposals of 1 to `longest_block` tokens; each call appends a token to the text."""
    ids = _ids(target, 1, context + longest_block * (REPEATS + 1))[0].tolist()
    session = drafter.start(ids[:context], GREEDY, random_stream(0, "parts"))
    layers = session.layers if isinstance(session, FeatureSession) else ()
    text = _GrowingText(session, CachedModel(target, layers), ids, context)
    is_block = isinstance(drafter, DraftsBlocks)
    for asked in range(1, longest_block + 1):
        width = _drafted_tokens(drafter, asked)
        part = TimedPass("draft", 0, 1, context, width, 0.0, asked, is_block)
        yield part, partial(text.time_proposal, asked)


def _drafted_tokens(drafter: Drafter, asked: int) -> int:
    """Return the number of tokens, or of a tree's nodes, that a draft proposes when asked."""
    if isinstance(drafter, TreeDrafter):
        return len(drafter.tree.cut(asked).paths)
    return min(asked, drafter.block_size) if isinstance(drafter, DraftsBlocks) else asked


@dataclass
class _GrowingText:
    """A session with the target's states of a text, which grows by a token a proposal."""

    session: Session
    target: CachedModel
    ids: Sequence[int]
    length: int

    def time_proposal(self, num_tokens: int) -> float:
        """Return the seconds of a proposal after one more token of the text."""
        if isinstance(self.session, FeatureSession):
            self.target.feed(self.ids[len(self.target.seen) : self.length])
            self.session.observe(self.target.states_TLD)
        self.length += 1
        return _timed(
            self.target.model, lambda: self.session.propose(self.ids[: self.length], num_tokens)
        )


def _ids(model: LanguageModel, batch_size: int, length: int) -> torch.Tensor:
    """Return ids [B, T] that run through the vocabulary: time does not depend on the tokens."""
    last = max(model.vocab_size - _FIRST_TOKEN, 1)
    ids_T = torch.arange(length, device=model.device) % last + min(_FIRST_TOKEN, last)
    return ids_T.clamp(max=model.vocab_size - 1).expand(batch_size, length)


def _timed(model: LanguageModel, work: Callable[[], object]) -> float:
    started = synchronised_time(model.device.type)
    work()
    return synchronised_time(model.device.type) - started
