"""The training loop: identities of the loss, chunks, resumption to the bit, and what goes wrong."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import training
from harness.data import load_rows
from harness.divergences import forward_kl
from harness.errors import UserError
from harness.models import LanguageModel, make_draft
from harness.progress import Progress
from harness.prompts import encode_gold
from harness.registry import find
from harness.schedule import learning_rate, order_of_pass, total_steps
from harness.sections import DraftInit, Training
from harness.teacher import write_features
from harness.training import TrainingContext, train, validation_acceptance
from harness.types import Text

SETTINGS = Training(passes=1, rows_per_batch=4, learning_rate=2e-3, validations=2)


@pytest.fixture(scope="module")
def features(
    target: LanguageModel, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Hidden states of 24 training and 8 validation rows."""
    folders = {}
    for split, count in (("train", 24), ("validation", 8)):
        rows = load_rows(find("tasks", "gsm8k"), split, count, sources=["samples"])
        texts = encode_gold(tokenizer, rows.examples, frozenset({tokenizer.eos_token_id}))
        folders[split] = tmp_path_factory.mktemp(split)
        with Progress(quiet=True).step("", count) as step:
            write_features(target, texts, folders[split], dtype="float32", step=step)
    return folders


@pytest.fixture
def context(
    target: LanguageModel, features: dict[str, Path], tmp_path: Path
) -> Callable[..., TrainingContext]:
    """Return a function that makes a context with a fresh draft."""

    def make(**changes: Any) -> TrainingContext:
        with Progress(quiet=True).step("", 1) as step:
            base = TrainingContext(
                draft=make_draft(DraftInit(pruned=(0, 7)), target, seed=0),
                target=target,
                features=features,
                settings=SETTINGS,
                dtype="float32",
                seed=0,
                scratch=tmp_path,
                step=step,
            )
        return replace(base, **changes)

    return make


def weights(model: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_distillation_raises_validation_acceptance(context: Any) -> None:
    made = train(context(settings=SETTINGS.model_copy(update={"passes": 4})), forward_kl)
    history = [point["validation_acceptance"] for point in made.history]
    assert history[-1] > history[0] + 0.1
    assert made.ledger.steps == 24
    assert made.ledger.rows == 96
    assert made.ledger.flops > 0


def test_a_draft_that_is_its_target_learns_nothing(context: Any, target: LanguageModel) -> None:
    whole = make_draft(DraftInit(pruned=tuple(range(8))), target, seed=0)
    ready = context(draft=whole)
    assert validation_acceptance(ready) == pytest.approx(1.0, abs=1e-5)
    loss = training._backward(ready, list(ready.train.texts[:4]), forward_kl)
    assert loss == pytest.approx(0.0, abs=1e-5)
    gradients = [p.grad for p in whole.model.parameters() if p.grad is not None]
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-4


def test_chunks_give_the_gradient_of_the_whole(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients = []
    for size in (7, 10_000):
        monkeypatch.setattr(training, "CHUNK", size)
        ready = context()
        training._backward(ready, list(ready.train.texts[:4]), forward_kl)
        gradients.append({n: p.grad for n, p in ready.draft.model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-5, rtol=1e-3)


def test_only_responses_are_supervised(context: Any) -> None:
    ready = context()
    counted: list[int] = []

    def loss(draft: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        counted.append(len(draft))
        return forward_kl(draft, target)

    texts: list[Text] = list(ready.train.texts[:4])
    training._backward(ready, texts, loss)
    assert sum(counted) == sum(len(text.response_ids) for text in texts)


def test_an_interrupted_training_ends_with_the_same_bits(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_INTERVAL_S", 0.0)
    straight = train(context(scratch=tmp_path / "straight"), forward_kl)

    class Killed(Exception):
        pass

    def killed_at_step_three(draft: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if len(list((tmp_path / "resumed").glob("step-00000003"))):
            raise Killed
        return forward_kl(draft, target)

    with pytest.raises(Killed):
        train(context(scratch=tmp_path / "resumed"), killed_at_step_three)
    resumed = train(context(scratch=tmp_path / "resumed"), forward_kl)
    assert same(weights(straight.model), weights(resumed.model))
    assert straight.history == resumed.history
    assert straight.ledger.steps == resumed.ledger.steps


def test_a_damaged_checkpoint_is_not_trusted(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(context(scratch=tmp_path / "straight"), forward_kl)
    damaged = tmp_path / "damaged" / "step-00000003"
    damaged.mkdir(parents=True)
    (damaged / "state.json").write_text('{"step": 3')
    made = train(context(scratch=tmp_path / "damaged"), forward_kl)
    assert same(weights(straight.model), weights(made.model))


def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_weights(
    context: Any, tmp_path: Path
) -> None:
    calls: list[int] = []

    def diverging(draft: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return forward_kl(draft, target) * (float("nan") if len(calls) > 2 else 1.0)

    with pytest.raises(UserError, match=r"nan.* at step 3 of 6.*learning_rate"):
        train(context(), diverging)
    assert (tmp_path / "step-00000002" / "weights.safetensors").is_file()


def test_an_infinite_gradient_of_a_finite_loss_stops_as_well(context: Any) -> None:
    ready = context()
    before = weights(ready.draft)

    def steep(draft: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        zero = draft.sum(-1) * 0
        return zero.abs().sqrt()  # its slope at zero is infinite

    with pytest.raises(UserError, match=r"gradient's norm (nan|inf), at step 1"):
        train(ready, steep)
    assert same(before, weights(ready.draft))


def test_the_best_checkpoint_by_validation_is_the_one_that_is_kept(context: Any) -> None:
    """A training that only does harm returns the draft as it started."""
    ready = context()
    before = weights(ready.draft)
    harmful = train(ready, lambda draft, target: -forward_kl(draft, target))
    assert same(before, weights(harmful.model))


def test_a_shared_head_is_left_as_the_targets(context: Any, target: LanguageModel) -> None:
    init = DraftInit(pruned=(0, 7), head="shared")
    made = train(context(draft=make_draft(init, target, seed=0)), forward_kl)
    mine = made.model.model.get_output_embeddings().weight
    assert torch.equal(mine, target.model.get_output_embeddings().weight)


def test_the_schedule_warms_up_and_ends_near_zero() -> None:
    rates = [learning_rate(step, 100, SETTINGS) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == pytest.approx(SETTINGS.learning_rate)
    assert rates[-1] < 0.01 * SETTINGS.learning_rate


def test_every_pass_takes_every_row_once_in_an_order_of_its_own() -> None:
    texts = [Text(str(i), (1,), (1,) * (i % 7 + 1)) for i in range(30)]
    first, second = (order_of_pass(texts, 4, seed=0, number=number) for number in (0, 1))
    for batches in (first, second):
        assert sorted(chain.from_iterable(batches)) == list(range(30))
    assert first != second
    assert first == order_of_pass(texts, 4, seed=0, number=0)


def test_half_a_pass_is_half_the_steps() -> None:
    assert total_steps(64, SETTINGS.model_copy(update={"passes": 0.5})) == 8
