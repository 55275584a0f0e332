"""AdaSPEC's two trainings: their starts, their ledger, and bitwise resumption."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from draftmark.baselines._selection import Choice, num_kept
from draftmark.baselines.adaspec import METHOD as AdaSPEC
from draftmark.baselines.kd import METHOD as KnowledgeDistillation
from draftmark.config.model_sections import Budget, DraftInit, Training
from draftmark.data.prompts import encode_gold
from draftmark.data.rows import load_rows
from draftmark.errors import UserError
from draftmark.models.draft_inits import make_draft
from draftmark.models.generation import Sampling
from draftmark.models.hidden_states import StoredHiddenStates, write_hidden_states
from draftmark.models.language_model import LanguageModel
from draftmark.progress import Progress
from draftmark.registry import find_registered
from draftmark.store.graph import RESULT_FILES
from draftmark.store.records import SELECTION, read_rows
from draftmark.training import gradients, loop
from draftmark.training.batches import Batch, FixedTexts, OnPolicyTexts, TrainingTexts
from draftmark.training.context import Draft
from draftmark.training.divergences import tvd
from draftmark.training.ledger import tokens_read
from draftmark.training.loop import PreLossPass, TrainingContext, train
from draftmark.training.moving_reference import MovingReference
from draftmark.training.validation import acceptance_criterion
from draftmark.types import Ledger, Prompt, Sampler

SETTINGS = Training(passes=1.5, rows_per_batch=4, learning_rate=2e-3, validations=2)
STEPS = 3  # of 8 rows
Make = Callable[..., TrainingContext]


@pytest.fixture(scope="module")
def features(
    target: LanguageModel, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> StoredHiddenStates:
    rows = load_rows(find_registered("tasks", "gsm8k"), "train", 8, sources=["samples"])
    texts = encode_gold(tokenizer, rows.examples, frozenset({tokenizer.eos_token_id}))
    folder = tmp_path_factory.mktemp("train")
    with Progress(quiet=True).step("", len(texts)) as step:
        write_hidden_states(target, texts, folder, dtype="float32", step=step)
    return StoredHiddenStates.load(folder)


@pytest.fixture
def context(
    target: LanguageModel, features: StoredHiddenStates, tokenizer: Any, tmp_path: Path
) -> Make:
    """Return a function that makes a training context with a new draft in a named folder."""

    def make(folder: str, *, writer: str = "dataset", **settings: Any) -> TrainingContext:
        draft = make_draft(DraftInit(pruned=(0, 7)), target, seed=0)
        prompts = [Prompt(text.example_id, text.prompt_ids) for text in features.texts]
        sampling = Sampling(Sampler(1.0), 6, frozenset({tokenizer.eos_token_id}), 0)
        sources = {
            "dataset": FixedTexts(features.texts, features),
            "draft": OnPolicyTexts(draft, target, prompts, sampling),
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
                texts=TrainingTexts({writer: sources[writer]}, {writer: 1.0}, 0),
                criterion=acceptance_criterion(target, features),
            )

    return make


def weights(model: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("writer", "dtype"), [("dataset", "float32"), ("draft", "float32"), ("dataset", "bfloat16")]
)
def test_keeping_all_is_kd_bit_for_bit(context: Make, writer: str, dtype: str) -> None:
    def made(method: Any, folder: str) -> Draft:
        draft: Draft = method.train(replace(context(folder, writer=writer), dtype=dtype))
        return draft

    plain, whole = made(KnowledgeDistillation(), "kd"), made(AdaSPEC(keep=1.0), "adaspec")
    assert same(weights(plain.model), weights(whole.model))
    assert plain.history == whole.history
    assert not same(weights(plain.model), weights(made(AdaSPEC(), "fewer").model))


class RecordedTrainings:
    """The start weights and pre-loss passes of a method's trainings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.starts: list[dict[str, torch.Tensor]] = []
        self.passes: list[PreLossPass | None] = []

        def record(context: TrainingContext, loss: Any, pre_loss_pass: Any = None) -> Draft:
            self.starts.append(weights(context.draft))
            self.passes.append(pre_loss_pass)
            return train(context, loss, pre_loss_pass)

        monkeypatch.setattr(loop, "train", record)


@pytest.mark.parametrize("as_init", [False, True])
def test_the_second_training_starts_from_the_init_or_from_the_reference(
    context: Make, monkeypatch: pytest.MonkeyPatch, as_init: bool
) -> None:
    init = weights(context("fresh").draft)
    plain = KnowledgeDistillation().train(context("kd"))
    recorded = RecordedTrainings(monkeypatch)
    AdaSPEC(reference_as_init=as_init).train(context("adaspec"))
    assert recorded.passes[0] is None
    assert recorded.passes[1] is not None
    reference = recorded.passes[1].reference
    assert same(weights(reference), weights(plain.model))
    assert not any(parameter.requires_grad for parameter in reference.model.parameters())
    assert not reference.model.training
    assert same(recorded.starts[0], init)
    assert same(recorded.starts[1], weights(plain.model) if as_init else init)


@pytest.mark.parametrize(("dtype", "chunks"), [("float32", [1024, 7]), ("bfloat16", [1024])])
def test_the_gap_is_the_difference_of_training_losses_for_any_chunk_size(
    context: Make, monkeypatch: pytest.MonkeyPatch, dtype: str, chunks: list[int]
) -> None:
    ready, other = (replace(context(name), dtype=dtype) for name in ("first", "second"))
    with torch.no_grad():
        for parameter in other.draft.model.parameters():
            parameter.mul_(1.01)
    training_batch = ready.texts.training_batch(0, 4)
    batch = Batch.from_texts(training_batch.texts, 0, 0.0, ready.draft.device)
    losses: list[list[torch.Tensor]] = []
    for each in (ready, other):
        parts: list[torch.Tensor] = []

        def record(draft: Any, target: Any, _: Batch, parts: Any = parts) -> torch.Tensor:
            parts.append(tvd(draft, target))
            return parts[-1]

        gradients.backward_in_chunks(each, training_batch, batch, record)
        losses.append(parts)
    expected = torch.cat(losses[0]).detach() - torch.cat(losses[1]).detach()

    def weigh(gap_N: torch.Tensor, batch: Batch) -> torch.Tensor:
        torch.testing.assert_close(gap_N, expected, atol=1e-6, rtol=1e-4)
        assert not gap_N.requires_grad
        assert len(batch.rows_N) == len(gap_N)
        return (gap_N > 0).float()

    means = []
    for chunk in chunks:
        monkeypatch.setattr(gradients, "CHUNK_LOGITS", chunk * ready.draft.vocab_size)
        ready.draft.model.zero_grad()
        pre_loss_pass = PreLossPass(lambda p, q, _: tvd(p, q), other.draft, weigh)
        mean = gradients.backward_in_chunks(
            ready, training_batch, batch, pre_loss_pass.measure, pre_loss_pass
        )
        means.append(mean)
    by_hand = torch.cat(losses[0]).detach()[expected > 0].mean()
    assert means == pytest.approx([float(by_hand)] * len(chunks), rel=1e-5)


def test_the_ledger_counts_both_trainings_and_the_references_forward_passes(
    context: Make, features: StoredHiddenStates
) -> None:
    once = KnowledgeDistillation().train(context("kd")).ledger
    made = AdaSPEC().train(context("adaspec")).ledger
    for quantity in ("steps", "rows", "supervised_tokens"):
        assert getattr(made, quantity) == 2 * getattr(once, quantity) > 0
    assert once.reference_forward_tokens == 0
    ready = context("fresh")
    read = [tokens_read(ready.texts.training_batch(step, 4).texts) for step in range(STEPS)]
    assert made.reference_forward_tokens == sum(read)
    draft, target = ready.draft.model, ready.target.model
    heads = sum(model.get_output_embeddings().weight.numel() for model in (draft, draft, target))
    body = sum(p.numel() for p in draft.model.layers.parameters())
    extra = made.flops - 2 * once.flops - 2 * heads * once.supervised_tokens
    assert extra == pytest.approx(2 * body * sum(read), rel=0.01)  # the rest: its last norm
    controls = [AdaSPEC(selection="random"), AdaSPEC(selection="reversed"), AdaSPEC(keep=1.0)]
    for number, control in enumerate(controls):
        assert control.train(context(f"control {number}")).ledger.flops == made.flops


def test_the_reference_can_have_its_own_passes(context: Make) -> None:
    made = AdaSPEC(reference_passes=0.5).train(context("short")).ledger
    assert made.steps == STEPS + 1
    fewer = AdaSPEC(reference_passes=0.5).train(context("fewer", passes=0.5)).ledger
    assert fewer.steps == 2


def _spent(ledger: Ledger, limit: str) -> float:
    spent: float = getattr(ledger, limit)
    return spent


@pytest.mark.parametrize(
    ("writer", "limit"),
    [
        ("dataset", "steps"),
        ("dataset", "supervised_tokens"),
        ("dataset", "flops"),
        ("draft", "target_forward_tokens"),
    ],
)
def test_a_budget_holds_for_both_trainings_together(
    context: Make, monkeypatch: pytest.MonkeyPatch, writer: str, limit: str
) -> None:
    longer = KnowledgeDistillation().train(context("kd", writer=writer, passes=4)).ledger
    amount, step = _spent(longer, limit), _spent(longer, limit) / longer.steps
    budget = Budget.model_validate({limit: amount})
    ledgers: list[Ledger] = []

    def record(context: TrainingContext, loss: Any, pre_loss_pass: Any = None) -> Draft:
        ledgers.append((made := train(context, loss, pre_loss_pass)).ledger)
        return made

    monkeypatch.setattr(loop, "train", record)
    made = AdaSPEC().train(context("adaspec", writer=writer, budget=budget)).ledger
    assert amount <= _spent(made, limit) < amount + 4 * step
    halves = [_spent(ledger, limit) for ledger in ledgers]
    assert halves == pytest.approx([amount / 2] * 2, abs=4 * step)
    assert sum(halves) == _spent(made, limit)


def test_a_budget_that_the_reference_used_up_is_refused(context: Make) -> None:
    with pytest.raises(UserError, match="steps = 2 is used up before this training: 3 are spent"):
        AdaSPEC(reference_passes=1.5).train(context("adaspec", budget=Budget(steps=2)))


def test_the_reference_can_have_its_own_batch_size(context: Make) -> None:
    made = AdaSPEC(reference_rows_per_batch=2).train(context("small")).ledger
    assert made.steps == 3 * STEPS
    assert made.rows == AdaSPEC().train(context("same")).ledger.rows


@pytest.mark.parametrize("writer", ["dataset", "draft"])
@pytest.mark.parametrize("stage", ["reference", "draft"])
def test_resuming_either_training_gives_the_same_bits(
    context: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: str, writer: str
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_INTERVAL_S", 0.0)
    method = AdaSPEC(selection="random")
    assert_resumes(method, context, monkeypatch, tmp_path, stage, writer)


def assert_resumes(
    method: Any,
    context: Make,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    stage: str,
    writer: str = "dataset",
) -> None:
    """Kill a training in its second step, resume it, and compare with one that was not killed."""
    monkeypatch.setattr(loop, "CHECKPOINT_INTERVAL_S", 0.0)
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
    before = STEPS if stage == "draft" and method.reference == "trained" else 0
    assert len(steps) == before + 2
    resumed = method.train(context("resumed", writer=writer))
    assert same(weights(straight.model), weights(resumed.model))
    assert straight.history == resumed.history
    timeless = [replace(each.ledger, train_s=0, peak_bytes=0) for each in (straight, resumed)]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize(("reference", "refresh"), [("trained", 2), ("past", 1)])
def test_resuming_with_a_moving_reference_gives_the_same_bits(
    context: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reference: Any, refresh: int
) -> None:
    method = AdaSPEC(reference=reference, reference_refresh=refresh)
    assert_resumes(method, context, monkeypatch, tmp_path, "draft")


@pytest.mark.parametrize("reference", ["trained", "past"])
def test_the_reference_takes_the_drafts_weights_every_so_many_steps(
    context: Make, monkeypatch: pytest.MonkeyPatch, reference: Any
) -> None:
    seen: list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]] = []

    def record(context: TrainingContext, loss: Any, pre_loss_pass: Any = None) -> Draft:
        if pre_loss_pass is None:
            return train(context, loss)

        def weigh(gap_N: torch.Tensor, batch: Batch) -> torch.Tensor:
            seen.append((weights(context.draft), weights(pre_loss_pass.reference)))
            weights_N: torch.Tensor = pre_loss_pass.weigh(gap_N, batch)
            return weights_N

        return train(context, loss, replace(pre_loss_pass, weigh=weigh))

    monkeypatch.setattr(loop, "train", record)
    AdaSPEC(reference=reference, reference_refresh=2).train(context("moving", passes=2.5))
    assert len(seen) == 5
    for step in (2, 3, 4):
        assert same(seen[step][1], seen[step - step % 2][0])
    assert same(seen[1][1], seen[0][1])
    assert same(seen[0][1], seen[0][0]) == (reference == "past")


def test_a_deleted_reference_ends_the_training_with_a_sentence(context: Make) -> None:
    ready = context("deleted")
    moving = MovingReference(ready, context("reference").draft, 2)
    moving.prepare(2)
    for path in (ready.scratch / "references").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"is missing\. Delete .* to train again from the start"):
        MovingReference(ready, context("other").draft, 2).prepare(3)


def test_a_past_reference_and_a_selection_by_the_target_train_once(context: Make) -> None:
    once = KnowledgeDistillation().train(context("kd")).ledger
    past = AdaSPEC(reference="past", reference_refresh=2).train(context("past")).ledger
    by_target = AdaSPEC(selection="entropy").train(context("entropy")).ledger
    for ledger in (past, by_target):
        assert ledger.supervised_tokens == once.supervised_tokens
    assert past.reference_forward_tokens > 0
    assert by_target.reference_forward_tokens == 0


@pytest.mark.parametrize("selection", ["entropy", "flatness"])
def test_a_selection_by_the_target_trains_on_its_least_certain_tokens(
    context: Make, monkeypatch: pytest.MonkeyPatch, selection: Any
) -> None:
    ready = context("flat")
    steps: list[tuple[torch.Tensor, torch.Tensor]] = []

    def record(self: Any, values_N: torch.Tensor, batch: Batch, seed: int) -> torch.Tensor:
        weights_N: torch.Tensor = weigh(self, values_N, batch, seed)
        steps.append((values_N, weights_N))
        return weights_N

    weigh = AdaSPEC.weigh
    monkeypatch.setattr(AdaSPEC, "weigh", record)
    AdaSPEC(selection=selection).train(ready)
    values_N, weights_N = steps[0]
    hidden_ND = ready.texts.training_batch(0, 4).hidden_ND
    p_NV = ready.target.logits(hidden_ND.float()).softmax(-1)
    by_hand_N = (
        torch.distributions.Categorical(p_NV).entropy()
        if selection == "entropy"
        else 1 / (p_NV.square().sum(-1) * p_NV.shape[-1]).sqrt()
    )
    torch.testing.assert_close(values_N, by_hand_N.detach(), atol=1e-4, rtol=1e-3)
    assert values_N[weights_N == 1].min() >= values_N[weights_N == 0].max()


def test_selections_keep_equal_shares_at_equal_compute(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those by the target take more steps for the compute that a reference costs the others."""
    once = KnowledgeDistillation().train(context("kd")).ledger
    budget = Budget(flops=2 * once.flops)
    steps: list[tuple[str, torch.Tensor]] = []

    def record(self: Any, values_N: torch.Tensor, batch: Batch, seed: int) -> torch.Tensor:
        weights_N: torch.Tensor = weigh(self, values_N, batch, seed)
        steps.append((self.selection, weights_N))
        return weights_N

    weigh = AdaSPEC.weigh
    monkeypatch.setattr(AdaSPEC, "weigh", record)
    for selection in get_args(Choice):
        made = AdaSPEC(selection=selection).train(context(selection, budget=budget)).ledger
        longest = made.flops / made.steps
        assert budget.flops <= made.flops < budget.flops + 4 * longest
    taken = Counter(selection for selection, _ in steps)
    assert taken["gap"] == taken["reversed"] == taken["random"] < taken["entropy"]
    assert taken["entropy"] == taken["flatness"]
    for _, weights_N in steps:
        assert int(weights_N.sum()) == num_kept(len(weights_N), AdaSPEC().keep)


def test_a_finished_reference_is_not_trained_again(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = AdaSPEC()

    def refused(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(AdaSPEC, "weigh", refused)
        with pytest.raises(KeyboardInterrupt):
            method.train(context("same"))
    notes: list[str] = []

    class Recording:
        def advance(self, amount: int = 1, note: str = "") -> None:
            notes.extend([note] if note else [])

    resumed = method.train(replace(context("same"), step=Recording()))
    assert len(notes) == STEPS
    assert not [note for note in notes if note.startswith("reference: ")]
    assert same(weights(resumed.model), weights(method.train(context("other")).model))


def test_each_steps_gaps_and_kept_tokens_are_logged(context: Make) -> None:
    ready = context("logged")
    AdaSPEC().train(ready)
    rows = read_rows(ready.scratch / RESULT_FILES / SELECTION)
    assert sorted({row["step"] for row in rows}) == list(range(STEPS))
    for step in range(STEPS):
        mine = [row for row in rows if row["step"] == step]
        texts = ready.texts.training_batch(step, 4).texts
        assert [row["token_id"] for row in mine] == [t for it in texts for t in it.response_ids]
        kept = [row["gap"] for row in mine if row["kept"]]
        assert len(kept) == num_kept(len(mine), 0.4)
        assert min(kept) >= max(row["gap"] for row in mine if not row["kept"])
