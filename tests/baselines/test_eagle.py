"""EAGLE-1 and EAGLE-3: their losses by hand, and the knobs of heads."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from method_cases import Make, built, latest, prepared

from draftmark.baselines import _selection
from draftmark.baselines._selection import selection_weights
from draftmark.baselines._token_losses import token_loss
from draftmark.config.model_sections import Training
from draftmark.engines.measure.lossless import read_target_logits
from draftmark.errors import UserError
from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_rollout import rolled_features
from draftmark.models.hidden_states import LiveStates, StoredHiddenStates
from draftmark.models.language_model import LanguageModel
from draftmark.speculation.interfaces import FeatureMethod
from draftmark.training.batches import Batch
from draftmark.training.context import PreLossPass
from draftmark.training.divergences import forward_kl
from draftmark.training.gradients import backward_in_chunks
from draftmark.training.head_training import (
    HeadInTraining,
    loss_by_depth,
    mean_over_depths,
    trainable_head,
)
from draftmark.training.loop import TrainingContext
from draftmark.training.position_weights import confidence_by_depth, weigh_depths
from draftmark.types import Text, TrainingRun

SHORT = Training(passes=4 / 12, rows_per_batch=4, learning_rate=1e-3, validations=1)


@pytest.fixture
def ready(context: Make, few: dict[str, StoredHiddenStates]) -> Any:
    """Return a function that makes a method and its training context, by default of one step."""

    def make(name: str, knobs: dict[str, Any], **changes: Any) -> tuple[Any, TrainingContext]:
        method = built(name, **knobs)
        changes = {"settings": SHORT, "criterion": latest(), **changes}
        return method, replace(prepared(context(), method, few), **changes)

    return make


def first_loss(method: Any, given: TrainingContext) -> float:
    """Return the loss of a method's first step."""
    history = method.train(given).history
    return float(history[-1]["loss"])


@torch.no_grad()
def by_hand(
    head: FeatureHead, target: LanguageModel, texts: list[Text], depth: int, decay: float
) -> tuple[float, float]:
    """Return (soft cross-entropy, smooth L1) over tokens and depths, chain by chain."""

    states = LiveStates(target, head.model.shape.layers)
    logits, cross, smooth, tokens = read_target_logits(target, texts), 0.0, 0.0, 0
    for text, hidden in rolled_features(head, texts, states, depth):
        tokens += len(text.response_ids)
        for k, hidden_ND in enumerate(hidden):
            p_NV = logits.logits(text)[k:].softmax(-1)
            log_q_NV = head.logits(hidden_ND).log_softmax(-1)
            cross += decay**k * float(-(p_NV * log_q_NV).sum())
            wanted = logits.final_states.last_layer_of(text)[k:]
            smooth += float(torch.nn.functional.smooth_l1_loss(hidden_ND, wanted)) * len(wanted)
    total = sum(decay**k for k in range(depth)) * tokens
    return cross / total, smooth / tokens


def test_eagles_loss_is_the_feature_distance_and_a_tenth_of_the_cross_entropy(
    ready: Any, target: LanguageModel
) -> None:
    method, given = ready("eagle", {"noise": 0.0})
    texts = list(given.texts.training_batch(0, 4).texts)
    cross, smooth = by_hand(given.draft, target, texts, 1, 1.0)
    assert first_loss(method, given) == pytest.approx(0.1 * cross + smooth, rel=1e-4)


def test_eagle3s_loss_is_the_decayed_cross_entropy_of_every_depth(
    ready: Any, target: LanguageModel
) -> None:
    method, given = ready("eagle3", {"depth": 4, "decay": 0.7})
    texts = list(given.texts.training_batch(0, 4).texts)
    cross, _ = by_hand(given.draft, target, texts, 4, 0.7)
    assert first_loss(method, given) == pytest.approx(cross, rel=1e-4)


@pytest.mark.parametrize("name", ["eagle", "eagle3"])
def test_the_bfloat16_loss_is_close_to_the_float32_loss(ready: Any, name: str) -> None:
    losses = []
    for dtype in ("float32", "bfloat16"):
        method, given = ready(name, {"depth": 2}, dtype=dtype)
        losses.append(first_loss(method, given))
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.03)


def test_noise_follows_from_seed_and_step(ready: Any) -> None:
    losses = []
    for noise, seed in ((0.2, 0), (0.2, 0), (0.2, 1), (0.0, 0)):
        method, given = ready("eagle", {"noise": noise}, seed=seed)
        given = replace(given, texts=replace(given.texts, seed=0))
        losses.append(first_loss(method, given))
    assert losses[0] == losses[1]
    assert len({*losses}) == 3


def test_no_chain_starts_before_the_response(
    few: dict[str, StoredHiddenStates], ready: Any
) -> None:
    _, given = ready("eagle3", {})
    training_batch = given.texts.training_batch(0, 4)
    head = trainable_head(given.draft, 3, 0.0, 0)
    with torch.no_grad():
        states_NKD = head.read(training_batch, 0)
    batch = Batch.from_texts(training_batch.texts, 0, 0.0, head.device)
    assert states_NKD.shape == (len(batch.labels_N), 3, head.hidden_size)
    for k in range(3):
        none_N = states_NKD[:, k].abs().sum(-1) == 0
        assert torch.equal(none_N, batch.positions_N < k)


@pytest.mark.parametrize(
    "loss",
    ["reverse_kl", "tvd", "csd", "dld", "adaptive_kl_tv", "negative_log_acceptance", "jsd"],
)
@pytest.mark.parametrize("vocabulary", [None, 200])
def test_every_token_loss_trains_with_and_without_a_draft_vocabulary(
    ready: Any, loss: str, vocabulary: int | None
) -> None:
    knobs = {"loss": loss, "depth": 2, "draft_vocabulary": vocabulary}
    method, given = ready("eagle3", knobs, settings=SHORT)
    before = {name: value.clone() for name, value in given.draft.model.state_dict().items()}
    made = method.train(given)
    assert made.history[-1]["loss"] > 0
    after = made.model.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "fc.weight" in moved
    assert not any("embed_tokens" in name or "lm_head" in name for name in moved)


def test_soft_cross_entropy_and_forward_kl_have_one_gradient(ready: Any) -> None:
    weights = []
    for loss in ("soft_cross_entropy", "forward_kl"):
        method, given = ready("eagle3", {"loss": loss, "depth": 2})
        weights.append(method.train(given).model.model.fc.weight)
    torch.testing.assert_close(*weights, atol=1e-6, rtol=1e-5)


def test_a_token_outside_the_draft_vocabulary_has_no_loss() -> None:
    """EAGLE-3's rule, for all but the acceptance losses."""
    draft_NV = torch.tensor([[1.0, 0.0, -torch.inf]]).repeat(2, 1)
    target_NV = torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.0, 5.0]])
    found_N = token_loss("forward_kl")(draft_NV, target_NV)
    expected = forward_kl(draft_NV[:1, :2], target_NV[:1, :2])
    torch.testing.assert_close(found_N, torch.cat([expected, torch.zeros(1)]))
    assert torch.all(token_loss("negative_log_acceptance")(draft_NV, target_NV) > 0)


def test_the_mean_over_depths_is_weighed_by_decay() -> None:
    positions = torch.tensor([0, 1, 2])
    batch = Batch(positions, positions, positions * 0, ("a",), 0, 0.0)
    batch = replace(batch, states=(torch.zeros(3, 2, 4), torch.zeros(3, 4)))
    logits_NKV = torch.tensor([[[1.0], [10.0]]]).repeat(3, 1, 1)
    loss = mean_over_depths(lambda draft, _, __: draft[:, 0], 0.5)
    found_N = loss(logits_NKV, torch.zeros(3, 1), batch)
    torch.testing.assert_close(found_N, torch.tensor([1.0, 6.0, 6.0]) / 1.5)


def record_selections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return a list to which training appends the values of each step and their weights."""
    seen = []

    def record(values_N: torch.Tensor, *given: Any, **named: Any) -> torch.Tensor:
        seen.append((values_N, selection_weights(values_N, *given, **named)))
        return seen[-1][1]

    monkeypatch.setattr(_selection, "selection_weights", record)
    return seen


@pytest.mark.parametrize("name", ["eagle", "eagle3"])
def test_selection_trains_a_reference_first_and_then_keeps_a_share(
    ready: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, given = ready(name, {"keep": 0.4, "depth": 2})
    seen = record_selections(monkeypatch)
    made = method.train(given)
    ((gap_N, weights_N),) = seen
    assert float(weights_N.mean()) == pytest.approx(0.4, abs=0.02)
    assert gap_N[weights_N == 1].min() >= gap_N[weights_N == 0].max()
    assert float(gap_N.abs().sum()) > 0
    assert made.ledger.steps == 2
    assert made.ledger.reference_forward_tokens > 0
    assert isinstance(made.model, HeadInTraining)


@pytest.mark.parametrize("selection", ["reversed", "random", "entropy", "flatness"])
def test_heads_select_as_adaspec_does(
    ready: Any, selection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, given = ready("eagle3", {"keep": 0.4, "depth": 2, "selection": selection})
    seen = record_selections(monkeypatch)
    made = method.train(given)
    ((values_N, weights_N),) = seen
    by_target = selection in ("entropy", "flatness")
    runs = method.training_runs(TrainingRun(1, 4))
    assert len(runs) == made.ledger.steps == (1 if by_target else 2)
    assert (made.ledger.reference_forward_tokens == 0) == by_target
    assert float(weights_N.mean()) == pytest.approx(0.4, abs=0.02)
    kept_N, dropped_N = values_N[weights_N == 1], values_N[weights_N == 0]
    if selection == "random":
        assert kept_N.min() < dropped_N.max()
        assert dropped_N.min() < kept_N.max()
    else:
        worst, best = (kept_N, dropped_N) if selection == "reversed" else (dropped_N, kept_N)
        assert best.min() >= worst.max()
    if by_target:  # whose values do not depend on the head
        least, most = (0, math.log(1024)) if selection == "entropy" else (1 / 32, 1)
        assert least <= values_N.min() < values_N.max() <= most


def test_a_selection_without_a_share_is_refused() -> None:
    with pytest.raises(UserError, match="selection = 'entropy' needs keep below 1"):
        built("eagle3", selection="entropy")


def test_a_greater_depth_costs_more_flops(ready: Any) -> None:
    flops = []
    for depth in (1, 2, 3):
        method, given = ready("eagle3", {"depth": depth})
        flops.append(method.train(given).ledger.flops)
    assert flops[2] - flops[1] == pytest.approx(flops[1] - flops[0])
    assert flops[1] > flops[0]


@pytest.mark.parametrize(
    ("layers", "chosen"), [(32, (2, 16, 29)), (8, (2, 4, 5)), (4, (1, 2, 3)), (3, (0, 1, 2))]
)
def test_three_different_layers_are_fused(layers: int, chosen: tuple[int, ...]) -> None:
    method = built("eagle3")
    assert isinstance(method, FeatureMethod)
    assert method.layers(layers) == chosen


def test_layers_that_the_target_does_not_have_are_refused() -> None:
    for knobs, layers in (({}, 2), ({"features": [1, 2, 8]}, 8), ({"features": [1, 1, 2]}, 8)):
        method = built("eagle3", **knobs)
        assert isinstance(method, FeatureMethod)
        with pytest.raises(UserError, match="are not three different layers of a target"):
            method.layers(layers)
    ordered = built("eagle3", features=[5, 1, 3])
    assert isinstance(ordered, FeatureMethod)
    assert ordered.layers(8) == (1, 3, 5)


def test_chunks_give_the_gradient_of_the_whole(ready: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for size in (1024 * 7 * 3, 2**23):
        monkeypatch.setattr("draftmark.training.gradients.CHUNK_LOGITS", size)
        _, given = ready("eagle3", {})
        head = trainable_head(given.draft, 3, 0.0, 0)
        training_batch = given.texts.training_batch(0, 4)
        batch = Batch.from_texts(training_batch.texts, 0, 0.0, head.device)
        loss = mean_over_depths(lambda draft, goal, _: forward_kl(draft, goal), 0.8)
        backward_in_chunks(replace(given, draft=head), training_batch, batch, loss)
        gradients.append(head.model.fc.weight.grad)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-3)


def test_dpace_weighs_each_depth_in_chunks_of_any_size(
    ready: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients, means, parts = [], [], []

    def record(logits: torch.Tensor, target: torch.Tensor, batch: Batch) -> torch.Tensor:
        parts.append(loss(logits, target, batch))
        return parts[-1]

    def weigh(confidence_NK: torch.Tensor, batch: Batch) -> torch.Tensor:
        seen.append(weigh_depths(confidence_NK, batch))
        return seen[-1]

    loss, seen = loss_by_depth(lambda draft, goal, _: forward_kl(draft, goal)), []
    for size in (1024 * 7 * 3, 2**23):
        monkeypatch.setattr("draftmark.training.gradients.CHUNK_LOGITS", size)
        _, given = ready("eagle3", {})
        head = trainable_head(given.draft, 3, 0.0, 0)
        training_batch = given.texts.training_batch(0, 4)
        batch = Batch.from_texts(training_batch.texts, 0, 0.0, head.device)
        parts.clear()
        pre_loss_pass = PreLossPass(confidence_by_depth, weigh=weigh)
        context = replace(given, draft=head)
        means.append(backward_in_chunks(context, training_batch, batch, record, pre_loss_pass))
        gradients.append(head.model.fc.weight.grad)
        by_hand = (torch.cat(parts).detach() * seen[-1]).sum() / seen[-1].sum()
        assert means[-1] == pytest.approx(float(by_hand), rel=1e-5)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-3)


def test_dpace_is_a_choice_of_decay_and_excludes_a_selection(ready: Any) -> None:
    method, given = ready("eagle3", {"decay": "dpace", "depth": 2})
    assert isinstance(method.train(given).model, HeadInTraining)
    with pytest.raises(UserError, match="choose one"):
        built("eagle", decay="dpace", keep=0.4)
    with pytest.raises(UserError, match="decay"):
        built("eagle", decay=1.5)
