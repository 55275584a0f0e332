"""AdaSPEC: the kept set by hand and by laws, its two trainings, what they cost, and resumption."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from baselines.adaspec import METHOD as AdaSPEC
from baselines.adaspec import num_kept
from baselines.kd import METHOD as KnowledgeDistillation
from harness import training
from harness.batches import Batch, Fixed, OnPolicy, Texts
from harness.config import MethodEntry
from harness.data import load_rows
from harness.divergences import DIVERGENCES
from harness.errors import UserError
from harness.generation import Sampling
from harness.ledgers import tokens_read
from harness.model_sections import DraftInit, Training
from harness.models import LanguageModel, make_draft
from harness.progress import Progress
from harness.prompts import encode_gold
from harness.registry import find
from harness.selection import acceptance
from harness.teacher import Features, write_features
from harness.training import TrainingContext, Weighing, train
from harness.types import Draft, Ledger, Prompt, Sampler

SETTINGS = Training(passes=1.5, rows_per_batch=4, learning_rate=2e-3, validations=2)
STEPS = 3  # of 8 rows
KEEPS = [0.1, 0.25, 0.4, 0.57, 0.9, 1.0]
Make = Callable[..., TrainingContext]


@pytest.fixture(scope="module")
def features(
    target: LanguageModel, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Features:
    rows = load_rows(find("tasks", "gsm8k"), "train", 8, sources=["samples"])
    texts = encode_gold(tokenizer, rows.examples, frozenset({tokenizer.eos_token_id}))
    folder = tmp_path_factory.mktemp("train")
    with Progress(quiet=True).step("", len(texts)) as step:
        write_features(target, texts, folder, dtype="float32", step=step)
    return Features.load(folder)


@pytest.fixture
def context(target: LanguageModel, features: Features, tokenizer: Any, tmp_path: Path) -> Make:
    """Return a function that makes a context with a fresh draft, in a folder called so."""

    def make(folder: str, *, writer: str = "dataset", **settings: Any) -> TrainingContext:
        draft = make_draft(DraftInit(pruned=(0, 7)), target, seed=0)
        prompts = [Prompt(text.example_id, text.prompt_ids) for text in features.texts]
        sampling = Sampling(Sampler(1.0), 6, frozenset({tokenizer.eos_token_id}), 0)
        sources = {
            "dataset": Fixed(features.texts, features),
            "draft": OnPolicy(draft, target, prompts, sampling),
        }
        with Progress(quiet=True).step("", 1) as step:
            return TrainingContext(
                draft=draft,
                target=target,
                settings=SETTINGS.model_copy(update=settings),
                dtype="float32",
                seed=0,
                scratch=tmp_path / folder,
                step=step,
                texts=Texts({writer: sources[writer]}, {writer: 1.0}, 0),
                criterion=acceptance(target, features),
            )

    return make


def weights(model: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def batch_of(rows: list[int], step: int = 0) -> Batch:
    """Return the batch of tokens that belong to these rows."""
    zeros_N = torch.zeros(len(rows), dtype=torch.long)
    names = tuple(map(str, range(max(rows) + 1)))
    return Batch(zeros_N, zeros_N, torch.tensor(rows), names, step, 9)


def kept(method: Any, gaps: list[float], rows: list[int] | None = None, step: int = 0) -> set[int]:
    """Return the indices of the tokens that a method keeps."""
    batch = batch_of(rows or [0] * len(gaps), step)
    weights_N = method.weigh(torch.tensor(gaps), batch, 0)
    assert set(weights_N.tolist()) <= {0.0, 1.0}
    return set(weights_N.nonzero().squeeze(1).tolist())


GAPS = [0.3, -1.0, 2.0, 0.3, 0.0, 0.3, 5.0, -2.0, 0.1, -0.5]


def test_the_largest_gaps_are_kept_and_of_equal_ones_the_first() -> None:
    assert kept(AdaSPEC(keep=0.4), GAPS) == {6, 2, 0, 3}


def test_reversed_keeps_the_smallest() -> None:
    assert kept(AdaSPEC(keep=0.4, selection="reversed"), GAPS) == {7, 1, 9, 4}


def test_each_micro_batch_keeps_its_own_share() -> None:
    rows = [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert kept(AdaSPEC(keep=0.4, micro_batch=1), GAPS, rows) == {2, 6, 3, 8}
    assert kept(AdaSPEC(keep=0.4, micro_batch=2), GAPS, rows) == {6, 2, 0, 8}
    for all_of_them in (3, 99, None):
        method = AdaSPEC(keep=0.4, micro_batch=all_of_them)
        assert kept(method, GAPS, rows) == kept(AdaSPEC(keep=0.4), GAPS)


@given(
    gaps=st.lists(st.sampled_from([-1.5, -1.0, 0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=40),
    keep=st.sampled_from(KEEPS),
)
def test_no_dropped_token_has_a_larger_gap_and_ties_go_by_index(
    gaps: list[float], keep: float
) -> None:
    found = kept(AdaSPEC(keep=keep), gaps)
    ranked = sorted(range(len(gaps)), key=lambda index: (-gaps[index], index))
    assert found == set(ranked[: len(found)])
    assert len(found) == num_kept(len(gaps), keep)


@given(
    gaps=st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=40, unique=True),
    keep=st.sampled_from([0.25, 0.5, 0.75, 1.0]),  # whose quantiles are exact
)
def test_without_ties_it_is_the_published_quantile(gaps: list[float], keep: float) -> None:
    at_least = torch.tensor(gaps, dtype=torch.float64).quantile(1 - keep)
    assert kept(AdaSPEC(keep=keep), gaps) == {i for i, gap in enumerate(gaps) if gap >= at_least}


@given(st.integers(1, 5000), st.integers(1, 100))
def test_the_share_is_right_to_less_than_one_token(num_tokens: int, hundredths: int) -> None:
    count = num_kept(num_tokens, hundredths / 100)
    assert 1 <= count <= num_tokens
    assert abs(count - Fraction(hundredths, 100) * num_tokens) <= 1
    assert hundredths < 100 or count == num_tokens


def test_a_share_is_the_decimal_that_was_written() -> None:
    assert math.floor(0.57 * 100) == 56
    assert num_kept(101, 0.57) == 58


def test_random_keeps_the_same_share_drawn_by_seed_and_step() -> None:
    method = AdaSPEC(keep=0.4, selection="random")
    draws = [kept(method, GAPS, step=step) for step in range(400)]
    assert {len(draw) for draw in draws} == {4}
    assert draws == [kept(method, GAPS, step=step) for step in range(400)]
    assert draws[3] == kept(method, [-gap for gap in GAPS], step=3)
    counts = Counter(index for draw in draws for index in draw)
    assert all(110 < counts[index] < 210 for index in range(len(GAPS)))  # 160, sd 10


@pytest.mark.parametrize("writer", ["dataset", "draft"])
def test_keeping_all_is_kd_bit_for_bit(context: Make, writer: str) -> None:
    plain = KnowledgeDistillation().train(context("kd", writer=writer))
    whole = AdaSPEC(keep=1.0).train(context("adaspec", writer=writer))
    assert same(weights(plain.model), weights(whole.model))
    assert plain.history == whole.history
    fewer = AdaSPEC(keep=0.4).train(context("fewer", writer=writer))
    assert not same(weights(plain.model), weights(fewer.model))


class Seen:
    """What the two trainings of a method were called with, and what they started from."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.starts: list[dict[str, torch.Tensor]] = []
        self.weighings: list[Weighing | None] = []

        def noting(context: TrainingContext, loss: Any, weighing: Any = None) -> Draft:
            self.starts.append(weights(context.draft))
            self.weighings.append(weighing)
            return train(context, loss, weighing)

        monkeypatch.setattr(training, "train", noting)


@pytest.mark.parametrize("as_init", [False, True])
def test_the_second_training_starts_from_the_init_or_from_the_reference_if_told_so(
    context: Make, monkeypatch: pytest.MonkeyPatch, as_init: bool
) -> None:
    init = weights(context("fresh").draft)
    plain = KnowledgeDistillation().train(context("kd"))
    seen = Seen(monkeypatch)
    AdaSPEC(reference_as_init=as_init).train(context("adaspec"))
    assert seen.weighings[0] is None
    assert seen.weighings[1] is not None
    reference = seen.weighings[1].reference
    assert same(weights(reference), weights(plain.model))
    assert not any(parameter.requires_grad for parameter in reference.model.parameters())
    assert not reference.model.training
    assert same(seen.starts[0], init)
    assert same(seen.starts[1], weights(plain.model) if as_init else init)


def test_the_gap_is_the_drafts_loss_less_the_references_whatever_the_chunks(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, other = context("first"), context("second")
    with torch.no_grad():
        for parameter in other.draft.model.parameters():
            parameter.mul_(1.01)
    lesson = ready.texts.lesson(0, 4)
    losses: list[list[torch.Tensor]] = []
    for each in (ready, other):
        parts: list[torch.Tensor] = []

        def noting(draft: Any, target: Any, _: Batch, parts: Any = parts) -> torch.Tensor:
            parts.append(DIVERGENCES["tvd"](draft, target))
            return parts[-1]

        training._backward(each, lesson, 0, noting)
        losses.append(parts)
    expected = torch.cat(losses[0]).detach() - torch.cat(losses[1]).detach()

    def weigh(gap_N: torch.Tensor, batch: Batch) -> torch.Tensor:
        torch.testing.assert_close(gap_N, expected, atol=1e-6, rtol=1e-4)
        assert not gap_N.requires_grad
        assert len(batch.rows_N) == len(gap_N)
        return (gap_N > 0).float()

    means = []
    for chunk in (1024, 7):
        monkeypatch.setattr(training, "CHUNK", chunk)
        ready.draft.model.zero_grad()
        weighing = Weighing(other.draft, weigh)
        loss = lambda draft, target, _: DIVERGENCES["tvd"](draft, target)  # noqa: E731
        means.append(training._backward(ready, lesson, 0, loss, weighing))
    by_hand = torch.cat(losses[0]).detach()[expected > 0].mean()
    assert means == pytest.approx([float(by_hand)] * 2, rel=1e-5)


def test_the_ledger_counts_both_trainings_and_what_the_reference_read(
    context: Make, features: Features
) -> None:
    once = KnowledgeDistillation().train(context("kd")).ledger
    made = AdaSPEC().train(context("adaspec")).ledger
    for quantity in ("steps", "rows", "supervised_tokens"):
        assert getattr(made, quantity) == 2 * getattr(once, quantity) > 0
    assert once.reference_forward_tokens == 0
    ready = context("fresh")
    read = [tokens_read(ready.texts.lesson(step, 4).texts) for step in range(STEPS)]
    assert made.reference_forward_tokens == sum(read)
    draft, target = ready.draft.model, ready.target.model
    heads = sum(model.get_output_embeddings().weight.numel() for model in (draft, draft, target))
    body = sum(p.numel() for p in draft.model.layers.parameters())
    extra = made.flops - 2 * once.flops - 2 * heads * once.supervised_tokens
    assert extra == pytest.approx(2 * body * sum(read), rel=0.01)  # and its last norm
    controls = [AdaSPEC(selection="random"), AdaSPEC(selection="reversed"), AdaSPEC(keep=1.0)]
    for number, control in enumerate(controls):
        assert control.train(context(f"control {number}")).ledger.flops == made.flops


def test_the_reference_may_have_passes_of_its_own(context: Make) -> None:
    made = AdaSPEC(reference_passes=0.5).train(context("short")).ledger
    assert made.steps == STEPS + 1
    fewer = AdaSPEC(reference_passes=0.5).train(context("fewer", passes=0.5)).ledger
    assert fewer.steps == 2


def test_two_ledgers_add_up_but_for_the_peak() -> None:
    first = Ledger(steps=1, flops=2.0, train_s=0.5, peak_bytes=7)
    second = Ledger(steps=2, reference_forward_tokens=3, peak_bytes=5)
    expected = Ledger(steps=3, flops=2.0, train_s=0.5, reference_forward_tokens=3, peak_bytes=7)
    assert first + second == expected


@pytest.mark.parametrize("writer", ["dataset", "draft"])
@pytest.mark.parametrize("stage", ["reference", "draft"])
def test_an_interruption_of_either_training_changes_no_bit(
    context: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: str, writer: str
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_INTERVAL_S", 0.0)
    method = AdaSPEC(selection="random")
    straight = method.train(context("straight", writer=writer))
    folder = tmp_path / "resumed" / ("reference" if stage == "reference" else "")
    steps: list[int] = []

    class Killed(Exception):
        pass

    class Counting:
        def advance(self, amount: int = 1, note: str = "") -> None:
            if note:
                steps.append(amount)
            if note and (folder / "step-00000001").is_dir():
                raise Killed

    with pytest.raises(Killed):
        method.train(replace(context("resumed", writer=writer), step=Counting()))
    assert len(steps) == (2 if stage == "reference" else STEPS + 2)
    resumed = method.train(context("resumed", writer=writer))
    assert same(weights(straight.model), weights(resumed.model))
    assert straight.history == resumed.history
    timeless = [replace(each.ledger, train_s=0, peak_bytes=0) for each in (straight, resumed)]
    assert timeless[0] == timeless[1]


def test_a_reference_that_was_trained_is_not_trained_again(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = AdaSPEC()

    def refused(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(AdaSPEC, "weigh", refused)
        with pytest.raises(KeyboardInterrupt):
            method.train(context("same"))
    told: list[str] = []

    class Telling:
        def advance(self, amount: int = 1, note: str = "") -> None:
            told.extend([note] if note else [])

    resumed = method.train(replace(context("same"), step=Telling()))
    assert len(told) == STEPS
    assert not [note for note in told if note.startswith("reference: ")]
    assert same(weights(resumed.model), weights(method.train(context("other")).model))


def test_its_divergences_are_those_there_are() -> None:
    for name in DIVERGENCES:
        assert MethodEntry.model_validate({"name": "adaspec", "divergence": name}).build()


@pytest.mark.parametrize(
    ("knob", "value", "said"),
    [
        ("keep", 0, "keep"),
        ("keep", 1.1, "keep"),
        ("divergence", "kl", "forward_kl"),
        ("selection", "top", "gap"),
        ("micro_batch", 0, "micro_batch"),
        ("reference_passes", 0, "reference_passes"),
        ("k", 0.4, "keep"),
    ],
)
def test_a_bad_knob_is_refused(knob: str, value: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        MethodEntry.model_validate({"name": "adaspec", knob: value}).build()
