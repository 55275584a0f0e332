"""Times the parts of a block by themselves: a draft's step, the target's pass over its tokens.

What an engine adds (its own Python, sampling, scheduling) is not in them, so a speedup predicted of
them beside the measured one shows what the engine costs. A language model, as target or draft,
reads `width` tokens of each text of a batch after a context; of any other draft a proposal is timed
through its session, one text at a time.

Legend: B text of a batch, T position, D hidden size.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch
from transformers import DynamicCache

from draftmark.engines.measure.timing import synchronise
from draftmark.models.generation import stream
from draftmark.models.kv_cache import CachedModel
from draftmark.models.language_model import LanguageModel, load_model
from draftmark.speculation.interfaces import Drafter, FeatureSession, Method
from draftmark.speculation.language_model_drafter import LanguageModelDrafter
from draftmark.store.speed_records import TimedPass
from draftmark.types import GREEDY, Arm, Placement

REPEATS = 7  # of every part, in turns, after one that is not kept
_FIRST_TOKEN = 5  # contexts hold no special tokens, which mostly come first


@torch.no_grad()
def time_parts(
    folders: Mapping[str, Path],
    method: Method,
    placement: Placement,
    *,
    batch_sizes: Sequence[int],
    longest_block: int,
    contexts: Sequence[int],
) -> list[TimedPass]:
    """Return the parts of blocks of up to `longest_block` tokens after some numbers of tokens.

    The first context is also read at once, as a prefill; `folders` has "target" and "draft".
    """
    target = load_model(folders["target"], placement)
    drafter = method.drafter(folders["draft"], placement)
    told: list[tuple[TimedPass, Callable[[], float]]] = []
    for batch_size in batch_sizes:
        told += _of_model("target", target, batch_size, contexts, longest_block + 1)
        if isinstance(drafter, LanguageModelDrafter):
            told += _of_model("draft", drafter.model, batch_size, contexts, 1)
    if not isinstance(drafter, LanguageModelDrafter) and 1 in batch_sizes:
        told += [_of_session(drafter, target, length, longest_block) for length in contexts]
    for _, measure in told:
        measure()
    return [
        replace(part, repeat=repeat, seconds=measure())
        for repeat in range(REPEATS)
        for part, measure in told
    ]


Told = tuple[TimedPass, Callable[[], float]]


def _of_model(
    who: Arm, model: LanguageModel, batch_size: int, contexts: Sequence[int], widest: int
) -> Iterator[Told]:
    """Yield a model's prefill of the first context, and its passes over 1 to `widest` tokens."""
    prefill = TimedPass(who, 0, batch_size, 0, contexts[0], 0.0)
    yield prefill, _pass(model, prefill)
    for context in contexts:
        for width in range(1, widest + 1):
            part = TimedPass(who, 0, batch_size, context, width, 0.0)
            yield part, _pass(model, part)


def _pass(model: LanguageModel, part: TimedPass) -> Callable[[], float]:
    """Return what times a pass over `width` tokens, whose cache is made when it is first called."""
    kept: list[DynamicCache] = []

    def measure() -> float:
        if not kept:
            kept.append(DynamicCache(config=model.model.config))
            kept[0].activate_past_recording()  # sliding windows can be cut back only with it
            if part.context:
                _forward(model, _ids(model, part.batch_size, part.context), kept[0], 1)
        ids_BT = _ids(model, part.batch_size, part.width)
        heads = part.width if part.context else 1  # of a prompt only the last token's law is used
        seconds = _timed(model, lambda: _forward(model, ids_BT, kept[0], heads))
        kept[0].crop(-part.width)
        return seconds

    return measure


def _forward(model: LanguageModel, ids_BT: torch.Tensor, cache: DynamicCache, heads: int) -> None:
    read = model.model.base_model(input_ids=ids_BT, past_key_values=cache, use_cache=True)
    model.logits(read.last_hidden_state[:, -heads:])


def _of_session(drafter: Drafter, target: LanguageModel, context: int, num_tokens: int) -> Told:
    """Return what times a proposal of so many tokens, after one more token of a text each time."""
    ids = _ids(target, 1, context)[0].tolist()
    session = drafter.start(ids, GREEDY, stream(0, "parts"))
    layers = session.layers if isinstance(session, FeatureSession) else ()
    cached = CachedModel(target, layers)
    more = iter(_ids(target, 1, context + REPEATS + 1)[0, context:].tolist())

    def show(tokens: Sequence[int]) -> None:
        if isinstance(session, FeatureSession):
            cached.feed(tokens)
            session.observe(cached.states_TLD)

    def measure() -> float:
        show(ids[len(cached.seen) :])
        ids.append(next(more))
        return _timed(target, lambda: session.propose(ids, num_tokens))

    return TimedPass("draft", 0, 1, context, num_tokens, 0.0), measure


def _ids(model: LanguageModel, batch_size: int, length: int) -> torch.Tensor:
    """Return ids [B, T] that go through the vocabulary: what a pass takes depends on no token."""
    last = max(model.vocab_size - _FIRST_TOKEN, 1)
    ids_T = torch.arange(length, device=model.device) % last + min(_FIRST_TOKEN, last)
    return ids_T.clamp(max=model.vocab_size - 1).expand(batch_size, length)


def _timed(model: LanguageModel, work: Callable[[], object]) -> float:
    synchronise(model.device.type)
    started = perf_counter()
    work()
    synchronise(model.device.type)
    return perf_counter() - started
