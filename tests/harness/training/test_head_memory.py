"""Memory of training a block head: at most that of EAGLE-3, whose published depth is 7.

What torch's allocator holds is counted, not timed: every allocation of a training, its validations
included. A head has one decoder layer, as EAGLE-3's has, and its published slots and anchors.
"""

from collections.abc import Mapping
from functools import cache
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from block_cases import head_context
from head_cases import on_model, small_target
from torch.profiler import ProfilerActivity, profile

from draftmark.config.model_sections import Training
from draftmark.contract.fixtures import build_named_method
from draftmark.models.hidden_states import LiveStates
from draftmark.progress import Progress
from draftmark.training.batches import FixedTexts
from draftmark.types import Text

ONE_LAYER: Mapping[str, Mapping[str, Any]] = {
    "medusa": {},
    "p_eagle": {},
    "dflash": {"num_layers": 1},
    "dspark": {"num_layers": 1, "rank": 16},
    "domino": {"num_layers": 1, "rank": 16, "gru_size": 16},
}
SHORT, LONG = (16, 32), (160, 32)  # the numbers of tokens of prompt and response
SETTINGS = Training(rows_per_batch=4, validations=1)


class _Kept:
    """The target's states on each text, read before the training, as a store has them."""

    def __init__(self, live: LiveStates, texts: list[Text]) -> None:
        self._states = {text.example_id: live.states_of(text) for text in texts}

    def states_of(self, text: Text) -> torch.Tensor:
        return self._states[text.example_id]


def random_texts(prompt: int, response: int) -> list[Text]:
    ids = torch.randint(256, (4, prompt + response), generator=torch.Generator().manual_seed(0))
    return [
        Text(str(n), tuple(row[:prompt]), tuple(row[prompt:])) for n, row in enumerate(ids.tolist())
    ]


@cache
def peak_bytes(name: str, lengths: tuple[int, int], **knobs: Any) -> int:
    """Return the most bytes that a training of one step holds beyond what is there before it."""
    method: Any = build_named_method(name, **ONE_LAYER.get(name, {}), **knobs)
    sizes = {"hidden_size": 64, "intermediate_size": 168, "num_hidden_layers": 6}
    target = small_target("llama", vocab_size=256, max_position_embeddings=256, **sizes)
    texts = random_texts(*lengths)
    states = _Kept(LiveStates(target, method.layers(6)), texts)
    source = FixedTexts(texts, on_model(target, texts), states)
    with TemporaryDirectory() as folder, Progress(quiet=True).step("", 1) as step:
        context = head_context(method, target, source, SETTINGS, Path(folder), step)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            method.train(context)
    assert seen.profiler is not None
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))


@pytest.mark.parametrize("lengths", [SHORT, LONG], ids=["short", "long prompts"])
@pytest.mark.parametrize("name", ONE_LAYER)
def test_a_block_head_trains_within_the_memory_of_eagle3(
    name: str, lengths: tuple[int, int]
) -> None:
    assert peak_bytes(name, lengths) <= peak_bytes("eagle3", lengths)


def test_fewer_anchors_take_less_memory() -> None:
    """All starts in place of the half that a step draws would take most of twice."""
    assert peak_bytes("dflash", LONG, anchors=1.0) > 1.4 * peak_bytes("dflash", LONG)
