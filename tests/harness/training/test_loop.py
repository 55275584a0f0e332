"""The training loop: identities of the loss, chunks, resumption to the bit, and what goes wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.config.model_sections import Budget, DraftInit, Training, Writer
from draftmark.errors import UserError
from draftmark.models import large_weights
from draftmark.models.draft_inits import make_draft
from draftmark.models.generation import Sampling
from draftmark.models.hidden_states import StoredHiddenStates, hidden_states
from draftmark.models.language_model import LanguageModel, load_model, save_model
from draftmark.models.supervised_positions import num_positions
from draftmark.progress import Progress
from draftmark.store.graph import Job
from draftmark.training import gradients, loop
from draftmark.training.batches import (
    Batch,
    FixedTexts,
    LiveTexts,
    OnPolicyTexts,
    TrainingBatch,
    TrainingTexts,
)
from draftmark.training.context import Draft
from draftmark.training.divergences import cross_entropy, forward_kl
from draftmark.training.head_training import state_distance
from draftmark.training.loop import PreLossPass, TokenLoss, TrainingContext, train
from draftmark.training.schedule import learning_rate, order_of_pass, total_steps
from draftmark.training.trackers import JSON_LINES, Journal
from draftmark.training.validation import acceptance_criterion
from draftmark.types import Ledger, Prompt, Sampler

SETTINGS = Training(passes=1, rows_per_batch=4, learning_rate=2e-3, validations=2)
MIXED: dict[Writer, float] = {"dataset": 0.5, "draft": 0.5}


@pytest.fixture(scope="module")
def features(
    read_gold: Callable[..., dict[str, StoredHiddenStates]],
) -> dict[str, StoredHiddenStates]:
    """Hidden states of 24 training and 8 validation rows."""
    return read_gold(train=24, validation=8)


@pytest.fixture
def context(
    target: LanguageModel, features: dict[str, StoredHiddenStates], tokenizer: Any, tmp_path: Path
) -> Callable[..., TrainingContext]:
    """Return a function that makes a context with a fresh draft; `shares` is who writes."""

    def make(**changes: Any) -> TrainingContext:
        shares = changes.pop("shares", {"dataset": 1.0})
        draft = changes.pop("draft", None) or make_draft(DraftInit(pruned=(0, 7)), target, seed=0)
        train = features["train"].texts
        prompts = [Prompt(text.example_id, text.prompt_ids) for text in train]
        sampling = Sampling(
            Sampler(changes.pop("temperature", 1.0)), 12, frozenset({tokenizer.eos_token_id}), 0
        )
        sources = {
            "dataset": FixedTexts(train, features["train"]),
            "draft": OnPolicyTexts(draft, target, prompts, sampling),
            "target": LiveTexts(train, target),
        }
        with Progress(quiet=True).step("", 1) as step:
            base = TrainingContext(
                draft=draft,
                target=target,
                settings=SETTINGS,
                dtype="float32",
                seed=0,
                scratch=tmp_path,
                step=step,
                texts=TrainingTexts({name: sources[name] for name in shares}, shares, 0),
                criterion=acceptance_criterion(target, features["validation"]),
            )
        return replace(base, **changes)

    return make


class Told:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.values: list[dict[str, float]] = []

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        pass

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        self.values.append(values)

    def finish(self) -> None:
        pass


def kl(draft: torch.Tensor, target: torch.Tensor, batch: Batch) -> torch.Tensor:
    return forward_kl(draft, target)


def backward(ready: TrainingContext, training_batch: TrainingBatch, loss: TokenLoss) -> float:
    batch = Batch.from_texts(training_batch.texts, 0, 0.0, ready.draft.device)
    return gradients.backward_in_chunks(ready, training_batch, batch, loss)


def weights(model: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_distillation_raises_validation_acceptance(context: Any) -> None:
    started = perf_counter()
    made = train(context(settings=SETTINGS.model_copy(update={"passes": 4})), kl)
    assert 0 < made.ledger.train_s < perf_counter() - started
    history = [point["validation_acceptance"] for point in made.history]
    assert history[-1] > history[0] + 0.1
    assert made.ledger.steps == 24
    assert made.ledger.rows == 96
    assert made.ledger.flops > 0


def test_a_draft_that_is_its_target_learns_nothing(context: Any, target: LanguageModel) -> None:
    whole = make_draft(DraftInit(pruned=tuple(range(8))), target, seed=0)
    ready = context(draft=whole)
    assert ready.criterion.measure(whole) == pytest.approx(1.0, abs=1e-5)
    loss = backward(ready, ready.texts.training_batch(0, 4), kl)
    assert loss == pytest.approx(0.0, abs=1e-5)
    slopes = [p.grad for p in whole.model.parameters() if p.grad is not None]
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-4


def test_the_pieces_of_a_loss_do_not_change_a_bit_of_the_gradient(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, sizes = [], []

    def loss(draft: torch.Tensor, target: torch.Tensor, batch: Batch) -> torch.Tensor:
        assert len(draft) == len(target) == len(batch.labels_N) == len(batch.rows_N)
        sizes.append(len(draft))
        return forward_kl(draft, target) + 0.1 * state_distance(batch)

    for size in (3, 10_000):
        ready = context()
        monkeypatch.setattr(gradients, "PIECE_LOGITS", size * ready.draft.vocab_size)
        backward(ready, ready.texts.training_batch(0, 4), loss)
        found.append({n: p.grad for n, p in ready.draft.model.named_parameters()})
    assert sizes[0] == 3 < sizes[-1]
    head = "model.embed_tokens.weight"  # its gradient's sum over tokens is the chunk's
    assert torch.equal(found[0][head], found[1][head])
    assert same(found[0], found[1])


@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 30)), min_size=1, max_size=5))
def test_packed_texts_have_the_loss_and_the_gradients_of_padded_texts(
    target: LanguageModel,
    features: dict[str, StoredHiddenStates],
    lengths: list[tuple[int, int]],
) -> None:
    texts = [
        replace(text, prompt_ids=text.prompt_ids[:prompt], response_ids=text.response_ids[:answer])
        for text, (prompt, answer) in zip(features["train"].texts, lengths, strict=False)
    ]
    known = {text.example_id: states_ND for text, states_ND in hidden_states(target, texts)}
    training_batch = TrainingBatch(texts, torch.cat([known[text.example_id] for text in texts]))
    losses, slopes = [], []
    for packed in (True, False):
        draft = make_draft(DraftInit(pruned=(0, 7)), target, seed=0)
        ready = TrainingContext(draft, target, SETTINGS, "float32", 0, Path(), packed=packed)
        losses.append(backward(ready, training_batch, kl))
        slopes.append([parameter.grad for parameter in draft.model.parameters()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for mine, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=1e-3)


def test_training_reads_no_padding(context: Any) -> None:
    ready, read = context(), []

    def note(module: Any, args: Any, values: dict[str, Any]) -> None:
        if torch.is_grad_enabled():  # a training step, not a validation
            read.append(tuple(values["input_ids"].shape))

    ready.draft.model.base_model.register_forward_pre_hook(note, with_kwargs=True)
    made = train(ready, kl)
    assert len(read) == made.ledger.steps
    texts = ready.texts.sources["dataset"].texts
    assert {rows for rows, _ in read} == {1}
    assert sum(tokens for _, tokens in read) == sum(map(num_positions, texts))


def test_each_step_reads_the_head_that_the_last_step_left(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fused optimiser changes weights without a new version, so no copy may outlive a step."""
    ready, read = context(dtype="bfloat16"), []
    head = ready.draft.model.get_output_embeddings()

    def checked(states: torch.Tensor, weight_VD: torch.Tensor) -> torch.Tensor:
        assert torch.equal(weight_VD, head.weight.detach().to(weight_VD.dtype))
        read.append(weight_VD.detach().clone())
        return torch.nn.functional.linear(states, weight_VD)

    monkeypatch.setattr(large_weights, "linear", checked)
    train(ready, kl)
    assert not torch.equal(read[0], read[-1])


def test_cross_entropy_on_gold_answers_is_what_transformers_calls_the_loss(
    context: Any, features: dict[str, StoredHiddenStates]
) -> None:
    """A prompt's labels are -100 there; here they are no supervised tokens."""
    texts = features["train"].texts
    ready = context(
        target=None, texts=TrainingTexts({"dataset": FixedTexts(texts)}, {"dataset": 1.0})
    )
    training_batch = FixedTexts(texts).training_batch([0], 0)
    loss = backward(ready, training_batch, lambda draft, _, b: cross_entropy(draft, b.labels_N))
    mine = [parameter.grad.clone() for parameter in ready.draft.model.parameters()]
    ready.draft.model.zero_grad()
    ids = torch.tensor([[*texts[0].prompt_ids, *texts[0].response_ids]])
    labels = ids.clone()
    labels[:, : len(texts[0].prompt_ids)] = -100
    theirs = ready.draft.model(input_ids=ids, labels=labels).loss
    theirs.backward()
    assert loss == pytest.approx(float(theirs.detach()), rel=1e-5)
    for gradient, parameter in zip(mine, ready.draft.model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, atol=1e-6, rtol=1e-4)


def test_a_loss_without_a_target_is_given_no_laws_and_is_charged_for_none(context: Any) -> None:
    shapes: list[torch.Size] = []

    def loss(draft: torch.Tensor, target: torch.Tensor, batch: Batch) -> torch.Tensor:
        shapes.append(target.shape)
        return cross_entropy(draft, batch.labels_N)

    distilled, alone = train(context(), kl), train(context(target=None), loss)
    assert {shape[-1] for shape in shapes} == {0}
    ready = context()
    head = ready.target.model.get_output_embeddings().weight.numel()
    saved = 2 * head * alone.ledger.supervised_tokens
    assert distilled.ledger.flops - alone.ledger.flops == saved


def test_a_draft_that_writes_its_text_learns_from_it_and_is_charged_for_it(context: Any) -> None:
    more = SETTINGS.model_copy(update={"passes": 4})
    made = train(context(shares={"draft": 1.0}, settings=more), kl)
    history = [point["validation_acceptance"] for point in made.history]
    assert history[-1] > history[0] + 0.01
    ledger = made.ledger
    assert ledger.generated_tokens == ledger.supervised_tokens > 0
    assert ledger.target_forward_tokens > ledger.generated_tokens
    fixed = train(context(settings=more), kl).ledger
    assert (fixed.generated_tokens, fixed.target_forward_tokens) == (0, 0)


def test_what_the_draft_is_trained_on_is_written_by_its_weights_of_that_step(
    context: Any, tokenizer: Any, tmp_path: Path
) -> None:
    ready = context(shares={"draft": 1.0}, temperature=0.0)
    labels: list[int] = []

    def loss(draft: torch.Tensor, target: torch.Tensor, batch: Batch) -> torch.Tensor:
        if batch.step == 3:
            labels.extend(batch.labels_N.tolist())
            save_model(ready.draft, tokenizer, tmp_path / "at-step-3")
        return forward_kl(draft, target)

    train(ready, loss)

    def written(model: LanguageModel) -> list[int]:
        source = replace(ready.texts.sources["draft"], draft=model)
        training_batch = TrainingTexts({"draft": source}, {"draft": 1.0}).training_batch(3, 4)
        return [token for text in training_batch.texts for token in text.response_ids]

    assert labels == written(load_model(tmp_path / "at-step-3"))
    assert labels != written(context().draft)


@pytest.mark.parametrize("writer", ["dataset", "draft"])
def test_a_mixture_of_one_writer_is_that_writer(
    context: Any, writer: Writer, tmp_path: Path
) -> None:
    pure = Training(text=writer).shares
    other: Writer = "target"
    mixed = Training(text="mixture", mixture={other: 0.0, writer: 1.0}).shares
    first = train(context(shares=pure, scratch=tmp_path / "pure"), kl)
    second = train(context(shares=mixed, scratch=tmp_path / "mixed"), kl)
    assert same(weights(first.model), weights(second.model))
    assert first.history == second.history


def test_only_responses_are_supervised(context: Any) -> None:
    ready = context()
    counted: list[int] = []

    def loss(draft: torch.Tensor, target: torch.Tensor, batch: Batch) -> torch.Tensor:
        counted.append(len(draft))
        return forward_kl(draft, target)

    training_batch = ready.texts.training_batch(0, 4)
    backward(ready, training_batch, loss)
    assert sum(counted) == sum(len(text.response_ids) for text in training_batch.texts)


def test_the_target_tokens_that_a_step_reads_are_charged_and_count_towards_a_budget(
    context: Any, features: dict[str, StoredHiddenStates]
) -> None:
    once = sum(map(num_positions, features["train"].texts))
    whole = train(context(shares={"target": 1.0}), kl)
    stored = train(context(shares={"dataset": 1.0}), kl)
    assert (whole.ledger.target_forward_tokens, stored.ledger.target_forward_tokens) == (once, 0)
    assert (whole.ledger.flops, whole.ledger.generated_tokens) == (stored.ledger.flops, 0)
    half = budgeted(target_forward_tokens=once // 2)
    ended = train(context(shares={"target": 1.0}, settings=half), kl)
    assert once // 2 <= ended.ledger.target_forward_tokens < once


@pytest.mark.parametrize("shares", [{"dataset": 1.0}, {"draft": 1.0}, MIXED, {"target": 1.0}])
def test_an_interrupted_training_ends_with_the_same_bits(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: dict[Writer, float]
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_INTERVAL_S", 0.0)
    straight = train(context(scratch=tmp_path / "straight", shares=shares), kl)

    class Killed(Exception):
        pass

    def killed_at_step_three(
        draft: torch.Tensor, target: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        if len(list((tmp_path / "resumed").glob("step-00000003"))):
            raise Killed
        return forward_kl(draft, target)

    with pytest.raises(Killed):
        train(context(scratch=tmp_path / "resumed", shares=shares), killed_at_step_three)
    resumed = train(context(scratch=tmp_path / "resumed", shares=shares), kl)
    assert same(weights(straight.model), weights(resumed.model))
    assert straight.history == resumed.history
    for quantity in ("steps", "generated_tokens", "target_forward_tokens", "flops"):
        assert getattr(straight.ledger, quantity) == getattr(resumed.ledger, quantity)


def budgeted(**limits: float) -> Training:
    return SETTINGS.model_copy(update={"budget": Budget.model_validate(limits)})


def test_a_budget_of_as_many_steps_is_as_many_passes_to_the_bit(
    context: Any, tmp_path: Path
) -> None:
    passes = train(context(scratch=tmp_path / "passes"), kl)
    steps = train(context(scratch=tmp_path / "steps", settings=budgeted(steps=6)), kl)
    assert same(weights(passes.model), weights(steps.model))
    assert passes.history == steps.history


@pytest.mark.parametrize("writer", ["dataset", "draft"])
@pytest.mark.parametrize("limit", ["supervised_tokens", "flops"])
def test_the_step_that_reaches_a_budget_is_the_last_and_validates(
    context: Any, tmp_path: Path, limit: str, writer: Writer
) -> None:
    told = Told()
    first = train(context(shares={writer: 1.0}, scratch=tmp_path / "all"), kl).ledger
    amount = 0.4 * getattr(first, limit)
    amount = round(amount) if limit == "supervised_tokens" else amount
    settings = budgeted(**{limit: amount})
    made = train(
        context(
            shares={writer: 1.0},
            scratch=tmp_path / "some",
            settings=settings,
            journal=Journal((told,)),
        ),
        kl,
    )
    assert 1 < made.ledger.steps < first.steps
    spent = [getattr(made.ledger, limit) * share for share in (1, 1 - 1 / made.ledger.steps)]
    assert spent[0] >= amount
    assert spent[1] < 1.5 * amount
    assert made.history[-1]["step"] == made.ledger.steps
    rates = [values["learning_rate"] for values in told.values if "learning_rate" in values]
    assert rates[0] == max(rates)
    assert rates[-1] < 0.6 * max(rates)


def test_a_budget_of_the_targets_reading_ends_a_training_on_the_drafts_own_text(
    context: Any, tmp_path: Path
) -> None:
    settings, shares = budgeted(target_forward_tokens=3000), {"draft": 1.0}
    whole = train(context(shares=shares, settings=settings, scratch=tmp_path / "whole"), kl).ledger
    spent = Ledger(target_forward_tokens=1500)
    part = train(
        context(shares=shares, settings=settings, scratch=tmp_path / "part", spent=spent), kl
    ).ledger
    assert whole.target_forward_tokens >= 3000
    assert 1500 <= part.target_forward_tokens < whole.target_forward_tokens
    with pytest.raises(UserError, match="target_forward_tokens = 3000 is used up before"):
        train(context(settings=settings, spent=Ledger(target_forward_tokens=3001)), kl)


def test_a_budget_of_seconds_is_spent(context: Any) -> None:
    made = train(context(settings=budgeted(seconds=0.5)), kl)
    assert made.ledger.train_s >= 0.5
    assert made.history[-1]["step"] == made.ledger.steps


@pytest.mark.parametrize("writer", ["dataset", "draft"])
def test_an_interrupted_training_on_a_budget_ends_with_the_same_bits(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: Writer
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_INTERVAL_S", 0.0)
    shares = {writer: 1.0}
    settings = budgeted(supervised_tokens=150 if writer == "draft" else 1000)
    told = [Told(), Told()]

    def made(folder: str, loss: TokenLoss, told: Told) -> Draft:
        ready = context(
            shares=shares, settings=settings, scratch=tmp_path / folder, journal=Journal((told,))
        )
        return train(ready, loss)

    class Killed(Exception):
        pass

    def killed_after_a_step(
        draft: torch.Tensor, target: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        if batch.step:
            raise Killed
        return forward_kl(draft, target)

    straight = made("straight", kl, told[0])
    with pytest.raises(Killed):
        made("resumed", killed_after_a_step, Told())
    resumed = made("resumed", kl, told[1])
    assert straight.ledger.steps > 1
    assert same(weights(straight.model), weights(resumed.model))
    assert straight.history == resumed.history
    assert [values["loss"] for values in told[0].values if "loss" in values][1:] == [
        values["loss"] for values in told[1].values if "loss" in values
    ]


def test_trackers_are_told_of_every_step_and_validation(context: Any, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"trackers": ("jsonl",)})
    job = Job({}, tmp_path, tmp_path, Progress(quiet=True), tmp_path / "logs")
    with context(settings=settings).tracked(job, "training") as ready:
        made = train(ready, kl)
    file = tmp_path / "logs" / JSON_LINES
    first, *lines = (json.loads(line) for line in file.read_text("utf-8").splitlines())
    assert first["settings"]["learning_rate"] == SETTINGS.learning_rate
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, made.ledger.steps + 1))
    expected = {"step", "loss", "learning_rate", "gradient_norm", "supervised_tokens_per_second"}
    assert all(set(line) == expected for line in steps)
    values = {line["step"]: line["validation_acceptance"] for line in lines if "loss" not in line}
    assert values == {point["step"]: point["validation_acceptance"] for point in made.history}


def test_a_damaged_checkpoint_is_not_trusted(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(context(scratch=tmp_path / "straight"), kl)
    damaged = tmp_path / "damaged" / "step-00000003"
    damaged.mkdir(parents=True)
    (damaged / "state.json").write_text('{"step": 3')
    made = train(context(scratch=tmp_path / "damaged"), kl)
    assert same(weights(straight.model), weights(made.model))


def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_weights(
    context: Any, tmp_path: Path
) -> None:
    def diverging(draft: torch.Tensor, target: torch.Tensor, batch: Batch) -> torch.Tensor:
        return forward_kl(draft, target) * (float("nan") if batch.step == 2 else 1.0)

    with pytest.raises(UserError, match=r"nan.* at step 3;.*learning_rate"):
        train(context(), diverging)
    assert (tmp_path / "step-00000002" / "weights.safetensors").is_file()


def test_a_loss_that_is_not_finite_at_once_is_no_matter_of_the_learning_rate(context: Any) -> None:
    with pytest.raises(UserError, match="check the loss itself") as caught:
        train(context(), lambda draft, target, batch: kl(draft, target, batch) * float("inf"))
    assert "learning_rate" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda loss_N: loss_N[:, None], r"is \(\d+, 1\), not one number for each"),
        (lambda loss_N: loss_N.mean(), r"is \(\), not one number for each"),
        (lambda loss_N: loss_N[:, None] * torch.ones(3), r"is \(\d+, 3\), not one number"),
        (lambda loss_N: loss_N.sum().item(), "is float, not one number"),
        (lambda loss_N: None, "is NoneType, not one number"),
        (lambda loss_N: loss_N.detach(), "has no gradient"),
    ],
)
def test_a_loss_that_is_not_a_number_a_token_with_a_gradient_is_one_sentence(
    context: Any, spoil: Callable[[torch.Tensor], Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        train(context(), lambda draft, target, batch: spoil(kl(draft, target, batch)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_losses_and_surveys_are_given_float32_whatever_a_pair_computes_in(
    context: Any, dtype: str
) -> None:
    seen: set[torch.dtype] = set()

    def watched(draft: torch.Tensor, target: torch.Tensor, batch: Batch) -> torch.Tensor:
        seen.update((draft.dtype, target.dtype))
        return kl(draft, target, batch)

    settings = SETTINGS.model_copy(update={"passes": 4 / 24})
    train(context(dtype=dtype, settings=settings), watched, PreLossPass(watched))

    assert seen == {torch.float32}


def test_an_infinite_gradient_of_a_finite_loss_stops_as_well(context: Any) -> None:
    ready = context()
    before = weights(ready.draft)

    def steep(draft: torch.Tensor, target: torch.Tensor, batch: Batch) -> torch.Tensor:
        zero = draft.sum(-1) * 0
        return zero.abs().sqrt()  # its slope at zero is infinite

    with pytest.raises(UserError, match=r"gradient's norm (nan|inf) at step 1"):
        train(ready, steep)
    assert same(before, weights(ready.draft))


def test_the_best_checkpoint_by_validation_is_the_one_that_is_kept(context: Any) -> None:
    """A training that only does harm returns the draft as it started."""
    ready = context()
    before = weights(ready.draft)
    harmful = train(ready, lambda draft, target, _: -forward_kl(draft, target))
    assert same(before, weights(harmful.model))


def test_patience_ends_a_training_that_no_longer_gets_better(context: Any, tmp_path: Path) -> None:
    """The best draft is the start: every later validation is worse."""
    settings = SETTINGS.model_copy(update={"passes": 4, "validations": 12, "patience": 3})

    def harmful(draft: torch.Tensor, target: torch.Tensor, _: Batch) -> torch.Tensor:
        return -forward_kl(draft, target)

    made = train(context(settings=settings), harmful)
    assert [point["step"] for point in made.history] == [0, 2, 4, 6]
    assert made.ledger.steps == 6  # of 24
    better = train(context(settings=settings, scratch=tmp_path / "better"), kl)
    steps = [point["step"] for point in better.history]
    best = max(better.history, key=lambda point: point["validation_acceptance"])["step"]
    assert steps[-1] == 24 or steps.index(best) == len(steps) - 4


def test_a_training_out_of_patience_resumes_at_its_end(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_INTERVAL_S", 0.0)
    settings = SETTINGS.model_copy(update={"passes": 4, "validations": 12, "patience": 2})

    def harmful(draft: torch.Tensor, target: torch.Tensor, _: Batch) -> torch.Tensor:
        return -forward_kl(draft, target)

    first = train(context(settings=settings, scratch=tmp_path), harmful)
    again = train(context(settings=settings, scratch=tmp_path), harmful)
    assert again.ledger.steps == first.ledger.steps == 4
    assert same(weights(first.model), weights(again.model))


def test_a_shared_head_is_left_as_the_targets(context: Any, target: LanguageModel) -> None:
    init = DraftInit(pruned=(0, 7), head="shared")
    made = train(context(draft=make_draft(init, target, seed=0)), kl)
    mine = made.model.model.get_output_embeddings().weight
    assert torch.equal(mine, target.model.get_output_embeddings().weight)


def test_the_schedule_warms_up_and_ends_near_zero() -> None:
    rates = [
        learning_rate(Fraction(step, 100), Fraction(step + 1, 100), SETTINGS) for step in range(100)
    ]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == pytest.approx(SETTINGS.learning_rate)
    assert rates[-1] < 0.01 * SETTINGS.learning_rate


def test_every_pass_takes_every_row_once_in_an_order_of_its_own() -> None:
    lengths = [i % 7 + 1 for i in range(30)]
    first, second = (order_of_pass(lengths, 4, seed=0, number=number) for number in (0, 1))
    for batches in (first, second):
        assert sorted(chain.from_iterable(batches)) == list(range(30))
    assert first != second
    assert first == order_of_pass(lengths, 4, seed=0, number=0)


def test_half_a_pass_is_half_the_steps() -> None:
    assert total_steps(64, SETTINGS.model_copy(update={"passes": 0.5})) == 8
