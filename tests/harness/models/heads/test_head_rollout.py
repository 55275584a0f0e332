"""The attention pattern of training and scoring equals heads that are really rolled forward."""

from typing import Any

import pytest
import torch
from head_cases import ARCHITECTURES, OWN, small_head, small_target
from transformers import DynamicCache

from draftmark.errors import UserError
from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_rollout import roll_forward
from draftmark.models.hidden_states import LiveStates
from draftmark.types import Text

TEXTS = [
    Text("a", (3, 9, 4, 17), (5, 60, 2, 8, 11, 7)),
    Text("b", (1, 2), (33, 4, 9)),
    Text("c", (12, 40, 7, 7, 21, 30, 6), (5,)),
]


def one_by_one(head: FeatureHead, text: Text, fused_TD: torch.Tensor, depth: int) -> torch.Tensor:
    """Return the head's feature for the token at start + depth, chain by chain, without a cache.

    Each is a text of its own: target's features up to the start, then what the head put out.
    """
    ids = [*text.prompt_ids, *text.response_ids]
    rows = []
    for r in range(len(text.response_ids) - depth):
        start = len(text.prompt_ids) - 2 + r
        inputs_SD = fused_TD[: start + 1]
        for _ in range(depth + 1):
            length = len(inputs_SD)
            every = torch.arange(length)
            hidden_SD = head.step(
                torch.tensor([ids[1 : length + 1]]),
                inputs_SD[None],
                every[None],
                (every <= every[:, None])[None],
                DynamicCache(),
            )[0]
            inputs_SD = torch.cat([inputs_SD, hidden_SD[-1:]])
        rows.append(hidden_SD[-1])
    return torch.stack(rows)


@pytest.mark.parametrize("family", OWN)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_roll_is_what_each_chain_is_by_itself(family: str, architecture: str) -> None:
    target = small_target(family)
    head = small_head(target, architecture)
    states = LiveStates(target, head.model.shape.layers)
    with torch.no_grad():
        fused = [head.fuse(states.states_of(text)) for text in TEXTS]
        for depth, hidden_BRD in enumerate(roll_forward(head, TEXTS, fused, 4)):
            for row, text in enumerate(TEXTS):
                left = len(text.response_ids) - depth
                if left > 0:
                    slow_RD = one_by_one(head, text, fused[row], depth)
                    torch.testing.assert_close(
                        hidden_BRD[row, :left], slow_RD, atol=1e-5, rtol=1e-5
                    )


def test_the_gradient_goes_through_every_depth() -> None:
    """Of the last depth's features, with respect to the fc that fused the first ones."""
    target = small_target("llama")
    head = small_head(target, "eagle3")
    states = LiveStates(target, head.model.shape.layers)
    gradients = []
    for slow in (False, True):
        head.model.zero_grad()
        fused_TD = head.fuse(states.states_of(TEXTS[0]))
        *_, last_BRD = roll_forward(head, TEXTS[:1], [fused_TD], 3)
        left = len(TEXTS[0].response_ids) - 2
        hidden_RD = one_by_one(head, TEXTS[0], fused_TD, 2) if slow else last_BRD[0, :left]
        hidden_RD.square().sum().backward()
        gradients.append(head.model.fc.weight.grad)
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


def test_a_prompt_of_one_token_is_refused() -> None:
    target: Any = small_target("llama")
    text = Text("short", (3,), (5, 6))
    head = small_head(target, "eagle")
    with pytest.raises(UserError, match="short: the prompt has 1 tokens"):
        next(roll_forward(head, [text], [torch.zeros(2, 32)], 1))
