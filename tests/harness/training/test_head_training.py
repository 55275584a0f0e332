"""Feature heads in training: which chain predicts which token, noise, distance, vocabulary."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from head_cases import small_target

from draftmark.contract.fixtures import (
    build_named_method,
    context,
    context_for_method,
    few,
)
from draftmark.engines.measure.lossless import read_target_logits
from draftmark.errors import UserError
from draftmark.models.heads.head_rollout import rolled_features
from draftmark.models.hidden_states import LiveStates
from draftmark.training.batches import Batch, TrainingBatch
from draftmark.training.head_training import (
    HeadInTraining,
    frequent_ids,
    head_acceptance_criterion,
    read_batch,
    state_distance,
    trainable_head,
)
from draftmark.training.loop import train
from draftmark.training.process_group import ProcessGroup
from draftmark.types import Text

__all__ = ["context", "few"]


@pytest.fixture
def given(context: Any, few: Any) -> Any:
    """The training context of EAGLE-3's head."""
    return context_for_method(context(), build_named_method("eagle3"), few)


@pytest.mark.parametrize("depth", [1, 3])
def test_each_token_is_read_at_each_depth_by_the_chain_that_started_so_far_before_it(
    given: Any, target: Any, depth: int
) -> None:
    """Token r at depth k: the k-th features of the chain from start r - k, as in drafting."""
    batch: TrainingBatch = given.texts.training_batch(0, 3)
    short = replace(batch.texts[0], response_ids=batch.texts[0].response_ids[:2])
    texts = [short, *batch.texts[1:]]
    states = LiveStates(target, given.draft.model.shape.layers)
    batch = replace(batch, texts=texts, layers=[states.states_of(text) for text in texts])
    with torch.no_grad():
        read_NKD = trainable_head(given.draft, depth, 0.0, 0).read(batch, 0)
    by_text = {
        text.example_id: each for text, each in rolled_features(given.draft, texts, states, depth)
    }
    n = 0
    for text in texts:
        for r in range(len(text.response_ids)):
            for k in range(depth):
                expected = by_text[text.example_id][k][r - k] if k <= r else torch.zeros(())
                torch.testing.assert_close(
                    read_NKD[n, k], expected.expand_as(read_NKD[n, k]), atol=2e-4, rtol=1e-3
                )
            n += 1
    assert n == len(read_NKD)


def test_noise_is_uniform_and_narrower_in_longer_texts(given: Any) -> None:
    """EAGLE's code: width 0.2 times 512 / length, around 0."""
    head = HeadInTraining(given.draft.model, given.draft.vocab_size, 1, noise=0.2, noise_seed=3)
    zeros = [torch.zeros(512, 2, 64), torch.zeros(128, 2, 64)]
    noisy = head._noisy(zeros, step=5)
    for states, half in zip(noisy, (0.1, 0.4), strict=True):
        assert -half <= float(states.min()) < -0.99 * half
        assert 0.99 * half < float(states.max()) <= half
        assert abs(float(states.mean())) < 0.02 * half
    again, other_step = head._noisy(zeros, step=5), head._noisy(zeros, step=6)
    other_seed = replace(head, noise_seed=4)._noisy(zeros, step=5)
    assert torch.equal(again[0], noisy[0])
    assert not torch.equal(other_step[0], noisy[0])
    assert not torch.equal(other_seed[0], noisy[0])
    assert head._noisy(zeros, 0) is not zeros
    assert replace(head, noise=0.0)._noisy(zeros, 5) is zeros


def test_the_distance_of_states_is_smooth_l1_averaged_over_the_hidden_size() -> None:
    mine = torch.tensor([[0.0, 0.0, 3.0, -0.5], [1.0, 1.0, 1.0, 1.0]])
    theirs = torch.tensor([[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    batch = Batch.from_texts([Text("a", (1,), (2, 3))], 0, 0.0, torch.device("cpu"))
    found = state_distance(replace(batch, states=(mine, theirs)))
    # 0.5 x^2 up to 1, then |x| - 0.5: 0, 0.5, 1.5, 0.125
    assert found.tolist() == pytest.approx([(0 + 0.5 + 1.5 + 0.125) / 4, 0.0])


def test_the_draft_vocabulary_holds_the_most_frequent_tokens_in_order() -> None:
    texts = [Text("a", (9, 9, 9), (5, 5, 2, 7)), Text("b", (8,), (5, 2, 4))]
    assert frequent_ids(texts, 2).tolist() == [2, 5]
    assert frequent_ids(texts, 3).tolist() == [2, 4, 5]  # 4 and 7 are as frequent
    assert frequent_ids(texts, 4).tolist() == [2, 4, 5, 7]
    assert frequent_ids(texts, 10).tolist() == list(range(10))  # then tokens that are not there


@torch.no_grad()
def test_a_head_is_validated_on_the_first_token_that_it_drafts(
    given: Any, target: Any, few: Any
) -> None:
    states = LiveStates(target, given.draft.model.shape.layers)
    texts, shared, tokens = few["validation"].texts, 0.0, 0
    logits = read_target_logits(target, texts)
    for text, by_depth in rolled_features(given.draft, texts, states, 2):
        p_NV, q_NV = logits.logits(text).softmax(-1), given.draft.logits(by_depth[0]).softmax(-1)
        shared += float(torch.minimum(p_NV, q_NV).sum())
        tokens += len(text.response_ids)
    criterion = head_acceptance_criterion(target, few["validation"], states)
    assert criterion.measure(given.draft) == pytest.approx(shared / tokens, rel=1e-4)


def test_a_head_that_keeps_every_token_trains_without_a_reference(given: Any) -> None:
    made = build_named_method("eagle3", depth=2).train(given)
    assert made.ledger.steps > 0
    assert made.ledger.reference_forward_tokens == 0


def test_a_head_is_not_trained_in_parts(given: Any) -> None:
    sharded = given.settings.model_copy(update={"processes": 2, "sharded": True})
    head, two = trainable_head(given.draft, 2, 0.0, 0), ProcessGroup(count=2)
    with pytest.raises(UserError, match="this draft reads them in several"):
        train(replace(given, draft=head, settings=sharded, team=two), lambda *_: None)


@torch.no_grad()
def test_texts_longer_than_a_window_are_not_packed() -> None:
    """Packing ignores the window of 4 tokens, so the states would be others."""
    model = small_target("mistral")
    texts = [Text(str(n), (3, 4, 5, 6), (7 + n, 8, 9, 10, 11)) for n in range(2)]
    batch = TrainingBatch(texts, torch.empty(10, 0))
    alone = [
        read_batch(model, TrainingBatch([text], torch.empty(5, 0)), 0, packed=True)
        for text in texts
    ]
    packed, padded = (read_batch(model, batch, 0, packed=packed) for packed in (True, False))
    torch.testing.assert_close(packed, padded)
    torch.testing.assert_close(packed, torch.cat(alone))
    wide = small_target("mistral", sliding_window=None)
    assert not torch.allclose(read_batch(wide, batch, 0), padded)
