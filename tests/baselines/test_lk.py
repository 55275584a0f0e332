"""LK: the limits of its mixture, and -log acceptance."""

import pytest
import torch
from method_cases import Make, assert_same_gradient, built, gradient

from draftmark.errors import UserError
from draftmark.models.supervised_positions import right_padded, select_supervised
from draftmark.training import gradients
from draftmark.training.batches import Batch
from draftmark.training.divergences import adaptive_kl_tv, expected_acceptance
from draftmark.training.loop import PreLossPass


@pytest.mark.parametrize("per", ["batch", "position"])
def test_with_eta_zero_it_is_kd(context: Make, monkeypatch: pytest.MonkeyPatch, per: str) -> None:
    mine = gradient(context, built("lk", eta=0, per=per), monkeypatch)
    assert_same_gradient(mine, gradient(context, built("kd"), monkeypatch), rtol=1e-6)


def test_with_a_large_eta_it_is_total_variation(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = gradient(context, built("lk", eta=1e4), monkeypatch)
    theirs = gradient(context, built("distillspec", divergence="tvd"), monkeypatch)
    assert_same_gradient(mine, theirs, rtol=1e-6)


@pytest.mark.parametrize("per", ["batch", "position"])
def test_its_mixture_does_not_depend_on_chunks(
    context: Make, monkeypatch: pytest.MonkeyPatch, per: str
) -> None:
    whole = gradient(context, built("lk", per=per), monkeypatch)
    monkeypatch.setattr(gradients, "CHUNK_LOGITS", 100 * context().draft.vocab_size)
    assert_same_gradient(gradient(context, built("lk", per=per), monkeypatch), whole, rtol=1e-5)


def test_a_batchs_mixture_follows_from_its_mean_acceptance(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = context()
    training_batch = ready.texts.training_batch(0, 4)
    batch = Batch.from_texts(training_batch.texts, 0, 0.0, ready.draft.device)
    with torch.no_grad():
        states_BTD = ready.draft.hidden(*right_padded(training_batch.texts, ready.draft.device))
        draft = ready.draft.logits(
            torch.cat(list(select_supervised(training_batch.texts, states_BTD)))
        )
        target = ready.target.logits(training_batch.hidden_ND)
        shared = torch.minimum(draft.softmax(-1), target.softmax(-1)).sum(-1)
    means: list[float] = []

    def loss(draft: torch.Tensor, target: torch.Tensor, batch: Batch) -> torch.Tensor:
        means.append(batch.pre_loss_mean)
        return adaptive_kl_tv(draft, target, alpha=batch.pre_loss_mean)

    monkeypatch.setattr(gradients, "CHUNK_LOGITS", 100 * ready.draft.vocab_size)
    pre_loss_pass = PreLossPass(lambda draft, target, _: expected_acceptance(draft, target))
    gradients.backward_in_chunks(ready, training_batch, batch, loss, pre_loss_pass)
    assert len(means) > 1
    assert means == pytest.approx([float(shared.mean())] * len(means), rel=1e-5)


def test_only_the_batchs_mixture_costs_a_pre_loss_pass(context: Make) -> None:
    costs = {per: built("lk", per=per).train(context()).ledger for per in ("batch", "position")}
    ready = context()
    heads = sum(
        model.model.get_output_embeddings().weight.numel() for model in (ready.draft, ready.target)
    )
    extra = costs["batch"].flops - costs["position"].flops
    assert extra == 2 * heads * costs["batch"].supervised_tokens


def test_negative_log_acceptance_raises_validation_acceptance(context: Make) -> None:
    history = built("lk", objective="negative_log_acceptance").train(context()).history
    values = [point["validation_acceptance"] for point in history]
    assert max(values) > values[0] + 0.01


def test_a_knob_of_the_other_objective_is_refused() -> None:
    with pytest.raises(UserError, match="negative_log_acceptance' uses neither eta nor per"):
        built("lk", objective="negative_log_acceptance", eta=1)
    with pytest.raises(UserError, match="eta: Input should be greater than or equal to 0"):
        built("lk", eta=-1)
