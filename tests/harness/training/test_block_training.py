"""Block heads in training: which slots are drawn, which token a slot's loss is of, its weight."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from block_cases import BLOCK_METHODS, random_head, trained_block_head
from head_cases import small_target
from pydantic import ValidationError

from draftmark.contract.fixtures import build_named_method
from draftmark.engines.measure.lossless import read_target_logits
from draftmark.errors import UserError
from draftmark.models.heads.block_head import BlockHead
from draftmark.models.hidden_states import LiveStates
from draftmark.training.batches import Batch, TrainingBatch
from draftmark.training.block_training import (
    by_token,
    confidence_by_slot,
    draw_slots,
    loss_by_slot,
    mean_over_slots,
    trainable_block_head,
    was_drawn,
)
from draftmark.training.position_weights import weigh_depths
from draftmark.types import Text

TEXTS = [Text("a", (5, 9, 2), (1, 60, 33, 4, 8)), Text("b", (3, 3), (7, 12))]


def batch_of(states: Any) -> Batch:
    batch = Batch.from_texts(TEXTS, 0, 0.0, torch.device("cpu"))
    return replace(batch, states=(states, torch.zeros(len(batch.labels_N), 1)))


def test_a_slot_draws_its_share_of_the_starts_of_the_slot_before_it() -> None:
    generator = torch.Generator().manual_seed(0)
    shares = (1.0, 0.7, 0.49, 0.2)
    drawn = torch.stack([draw_slots(20, shares, generator) for _ in range(400)])
    assert (drawn.long().diff(dim=-1) <= 0).all()  # slots are the first ones of their block
    inside_RK = torch.arange(20)[:, None] + torch.arange(4) < 20
    assert not drawn[:, ~inside_RK].any()
    whole = drawn[:, :16]  # far from the end every start is alike
    expected_K = torch.tensor([math.ceil(20 * share) / 20 for share in shares])
    torch.testing.assert_close(
        whole.float().mean((0, 1)), expected_K, atol=3 / math.sqrt(400 * 16), rtol=0
    )
    assert draw_slots(1, (0.1, 0.1), generator).tolist() == [[True, False]]


def test_a_state_goes_to_the_token_that_its_slot_predicts() -> None:
    states_RKX = torch.arange(1.0, 1 + 4 * 3).view(4, 3, 1)
    states_NKX = by_token(states_RKX)
    for token in range(4):
        for slot in range(3):
            start = token - slot
            expected = states_RKX[start, slot] if start >= 0 else torch.zeros(1)
            assert torch.equal(states_NKX[token, slot], expected)


@pytest.mark.parametrize("name", BLOCK_METHODS)
def test_a_step_reads_what_it_draws_the_same_each_time(name: str) -> None:
    target = small_target("llama")
    method = replace(BLOCK_METHODS[name], block_size=3)
    head = trainable_block_head(method.head(target, [], 0), (0.5, 0.5, 0.5), 3)
    states = LiveStates(target, head.model.shape.layers)
    given = TrainingBatch(TEXTS, torch.empty(0), layers=[states.states_of(t) for t in TEXTS])
    first_NKX, again_NKX, other_NKX = (head.read(given, step) for step in (4, 4, 5))
    assert torch.equal(first_NKX, again_NKX)
    drawn = [tuple(was_drawn(each).flatten().tolist()) for each in (first_NKX, other_NKX)]
    assert drawn[0] != drawn[1]
    assert int(was_drawn(first_NKX)[:, 0].sum()) == 3 + 1  # half of 5 starts and of 2
    whole = replace(head, shares=(1.0,) * 3).read(given, 4)
    kept = was_drawn(first_NKX)
    torch.testing.assert_close(first_NKX[kept], whole[kept], atol=1e-5, rtol=1e-5)
    logits_NKV = head.logits(first_NKX)
    assert not logits_NKV[~kept].any()
    torch.testing.assert_close(logits_NKV[kept], super(type(head), head).logits(first_NKX)[kept])


def test_the_loss_of_a_token_is_the_mean_over_its_drawn_slots_at_their_shares() -> None:
    states_NKX = torch.ones(7, 2, 1)
    states_NKX[2, 1] = states_NKX[5] = 0
    logits_NKV = torch.arange(7.0 * 2 * 3).view(7, 2, 3).requires_grad_()
    loss = mean_over_slots(lambda draft, *_: draft[:, 0], (1.0, 0.5), (1.0, 0.5))
    mean_N = loss(logits_NKV, torch.zeros(7, 3), batch_of(states_NKX))
    drawn_NK = was_drawn(states_NKX)
    expected_N = (logits_NKV[..., 0] * drawn_NK * torch.tensor([1.0, 0.5])).sum(1) / 1.25
    torch.testing.assert_close(mean_N, expected_N)
    mean_N.sum().backward()
    assert logits_NKV.grad is not None
    assert not logits_NKV.grad[5].any()


def test_a_slot_that_read_nothing_ends_the_chain_of_d_pace() -> None:
    torch.manual_seed(0)
    states_NKX, logits_NKV = torch.ones(7, 3, 1), torch.randn(7, 3, 4)
    states_NKX[3, 2] = 0  # the third slot of the block that starts at token 1
    batch = replace(batch_of(states_NKX), labels_N=torch.tensor([0, 1, 2, 3, 0, 1, 2]))
    confidence_NK = confidence_by_slot(logits_NKV, torch.zeros(7, 4), batch)
    weights_NK = weigh_depths(confidence_NK, batch)
    assert weights_NK[3, 2] == 0
    first, second = (
        0.5 + 0.5 * float(logits_NKV[n, k].softmax(-1)[batch.labels_N[n]])
        for n, k in ((1, 0), (2, 1))
    )
    assert float(weights_NK[1, 0]) == pytest.approx(first + first * second)
    assert float(weights_NK[2, 1]) == pytest.approx(first * second)


@pytest.mark.parametrize(
    "changes",
    [
        {"decay": "dpace"},
        {"keep": 0.4},
        {"keep": 0.4, "selection": "entropy"},
        {"loss": "adaptive_kl_tv"},
        {"loss": "csd"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_losses_selection_and_weights_are_choices(changes: dict[str, Any], tmp_path: Path) -> None:
    target = small_target("llama")
    method = replace(BLOCK_METHODS["dspark"], block_size=3, anchors=1.0, **changes)
    before = method.head(target, [], 0)
    made = trained_block_head(method, target, TEXTS, tmp_path)
    known = read_target_logits(target, TEXTS).final_states
    states = LiveStates(target, made.model.shape.layers)
    measure = method.criterion(target, known, states).measure
    assert measure(made) >= measure(before)


def test_knobs_that_exclude_each_other_are_refused() -> None:
    with pytest.raises((UserError, ValidationError), match="choose one"):
        build_named_method("dflash", decay="dpace", keep=0.5)
    with pytest.raises((UserError, ValidationError), match="block_size"):
        build_named_method("p_eagle", block_size=33)
    with pytest.raises((UserError, ValidationError), match="leaves no slot of 3 to correct"):
        build_named_method("domino", block_size=3, uncorrected=3)
    with pytest.raises((UserError, ValidationError), match="confidence_threshold"):
        build_named_method("dspark", confidence_threshold=1.5)
    with pytest.raises(UserError, match=r"'enable_adaptive_verification' is refused: .* its load"):
        build_named_method("dspark", enable_adaptive_verification=True)


def test_dominos_loss_goes_from_the_base_logits_to_the_corrected_ones() -> None:
    target = small_target("llama")
    method = replace(BLOCK_METHODS["domino"], base_share=0.8, base_until=0.5, uncorrected=0)
    assert [method.base_share_at(done) for done in (0.0, 0.25, 0.5, 1.0)] == [0.8, 0.4, 0.0, 0.0]
    head = random_head(method, target)
    states_NX, labels_N = torch.randn(3, head.width), torch.tensor([4, 9, 9])
    base_N, corrected_N = (
        torch.nn.functional.cross_entropy(logits_NV, labels_N, reduction="none")
        for logits_NV in (super(BlockHead, head).logits(states_NX[:, :32]), head.logits(states_NX))
    )
    batch = replace(batch_of(None).part(slice(3)), labels_N=labels_N)
    batch = replace(batch, states=(states_NX, torch.zeros(3, 1)))

    def loss_at(done: float) -> torch.Tensor:
        return method.slot_loss(head)(
            head.logits(states_NX), torch.zeros(3, 64), replace(batch, done=done)
        )

    for done, base in ((0.0, 0.8), (0.25, 0.4), (0.5, 0.0)):
        expected_N = base * base_N + (1 - base) * corrected_N
        torch.testing.assert_close(loss_at(done), expected_N, atol=1e-5, rtol=1e-5)
    with torch.no_grad():  # as a selection measures it
        torch.testing.assert_close(loss_at(0.0), corrected_N)
    outer = head.model.embed_proj[2].weight
    (whole,), (part,) = (torch.autograd.grad(loss_at(done).sum(), outer) for done in (0.5, 0.0))
    torch.testing.assert_close(part, 0.2 * whole, atol=1e-6, rtol=1e-4)


def test_a_loss_by_slot_has_a_gradient_where_nothing_was_drawn() -> None:
    logits_NKV = torch.randn(7, 2, 3, requires_grad=True)
    losses = loss_by_slot(lambda draft, *_: draft.sum(-1))
    losses_NK = losses(logits_NKV, torch.zeros(7, 3), batch_of(torch.zeros(7, 2, 1)))
    assert losses_NK.requires_grad
    assert not losses_NK.any()
