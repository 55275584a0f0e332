"""Training steps beside the same in plain PyTorch: shift, mean loss, clipping, AdamW, rate."""

import copy
import json
import math
from fractions import Fraction
from time import perf_counter
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from draftmark.config.model_sections import Training
from draftmark.contract.fixtures import context, few
from draftmark.training.batches import Batch
from draftmark.training.loop import train
from draftmark.training.schedule import learning_rate
from draftmark.training.trackers import JSON_LINES, Journal, JsonLines
from draftmark.training.validation import Criterion
from draftmark.types import Text

__all__ = ["context", "few"]

STEPS = 3
SETTINGS = Training(
    passes=STEPS / 3,  # 12 rows, 4 a step
    rows_per_batch=4,
    learning_rate=5e-3,
    weight_decay=0.1,
    beta2=0.9,
    clip_norm=0.3,
    validations=1,
)


def mixed_loss(draft_NV: torch.Tensor, target_NV: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the sum of KL to the target and cross-entropy to the labels [N]."""
    p_NV, log_q_NV = target_NV.softmax(-1), draft_NV.log_softmax(-1)
    kl_N = (p_NV * (target_NV.log_softmax(-1) - log_q_NV)).sum(-1)
    return kl_N + cross_entropy(draft_NV, batch.labels_N, reduction="none")


def read(model: Any, text: Text, vocabulary: int) -> torch.Tensor:
    """Return the logits [N, V] that predict a response: those of the tokens before its own."""
    ids = torch.tensor([[*text.prompt_ids, *text.response_ids]])
    logits_TV: torch.Tensor = model(ids).logits[0]
    return logits_TV[len(text.prompt_ids) - 1 : -1, :vocabulary]


def steps_by_hand(given: Any, target: Any) -> tuple[dict[str, torch.Tensor], list[Any]]:
    """Return the weights after STEPS, and (loss, norm before clipping, rate) of each step."""
    model, vocabulary = copy.deepcopy(given.draft.model), given.draft.vocab_size
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimiser = torch.optim.AdamW(parameters, betas=(0.9, 0.9), weight_decay=0.1)
    told = []
    for step in range(STEPS):
        texts = given.texts.training_batch(step, 4).texts
        draft_NV = torch.cat([read(model, text, vocabulary) for text in texts])
        with torch.no_grad():
            target_NV = torch.cat([read(target.model, text, vocabulary) for text in texts])
        labels_N = torch.tensor([token for text in texts for token in text.response_ids])
        kl = torch.nn.functional.kl_div(
            draft_NV.log_softmax(-1), target_NV.softmax(-1), reduction="batchmean"
        )
        loss = kl + cross_entropy(draft_NV, labels_N)
        optimiser.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(float((each.grad**2).sum()) for each in parameters))
        for each in parameters:
            each.grad *= min(1.0, SETTINGS.clip_norm / norm)
        rate = learning_rate(Fraction(step, STEPS), Fraction(step + 1, STEPS), SETTINGS)
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()
        told.append((float(loss.detach()), norm, rate))
    return model.state_dict(), told


def latest() -> Criterion:
    """Return a criterion that the last weights meet best."""
    values = iter(range(100))
    return Criterion("validation", lambda _: float(next(values)))


def test_steps_are_those_of_plain_pytorch(context: Any, target: Any, tmp_path: Any) -> None:
    journal = Journal((JsonLines(tmp_path),))
    given = context(settings=SETTINGS, criterion=latest(), journal=journal)
    before = copy.deepcopy(given.draft.model.state_dict())
    expected, told = steps_by_hand(given, target)
    assert all(norm > 2 * SETTINGS.clip_norm for _, norm, _ in told)  # clipping binds
    started = perf_counter()
    made = train(given, mixed_loss)
    elapsed_s = perf_counter() - started
    journal.close()
    for name, value in made.model.model.state_dict().items():
        moved = (expected[name] - before[name]).norm()
        assert float((value - expected[name]).norm()) <= 1e-2 * float(moved), name
    lines = (tmp_path / JSON_LINES).read_text().splitlines()
    logged = [json.loads(line) for line in lines if "loss" in line]
    for line, (loss, norm, rate) in zip(logged, told, strict=True):
        assert line["loss"] == pytest.approx(loss, rel=1e-3)
        assert line["gradient_norm"] == pytest.approx(norm, rel=1e-3)
        assert line["learning_rate"] == pytest.approx(rate)
    assert made.history[-1]["loss"] == pytest.approx(told[-1][0], rel=1e-3)
    assert [point["step"] for point in made.history] == [0, STEPS]
    assert made.ledger.steps == STEPS
    sizes = [
        sum(len(text.response_ids) for text in given.texts.training_batch(step, 4).texts)
        for step in range(STEPS)
    ]
    speeds = [line["supervised_tokens_per_second"] for line in logged]
    seconds = sum(size / speed for size, speed in zip(sizes, speeds, strict=True))
    assert made.ledger.train_s == pytest.approx(seconds)
    assert 0 < seconds < elapsed_s


def test_the_ledger_counts_each_step_once(context: Any, target: Any) -> None:
    """Each weight of the body reads every token but a text's last, each head the supervised."""
    given = context(settings=SETTINGS, criterion=latest())
    texts = [text for step in range(STEPS) for text in given.texts.training_batch(step, 4).texts]
    model = given.draft.model
    head, parts = model.lm_head.weight.numel(), model.model.named_parameters()
    body = sum(weight.numel() for name, weight in parts if "embed" not in name)
    supervised = sum(len(text.response_ids) for text in texts)
    read = sum(len(text.prompt_ids) + len(text.response_ids) - 1 for text in texts)
    ledger = train(given, mixed_loss).ledger
    assert (ledger.rows, ledger.supervised_tokens) == (len(texts), supervised)
    target_head = target.model.lm_head.weight.numel()
    assert ledger.flops == 6 * body * read + (6 * head + 2 * target_head) * supervised
    assert (ledger.reference_forward_tokens, ledger.target_forward_tokens) == (0, 0)


@pytest.mark.parametrize("keeps_end", [False, True])
def test_only_a_training_that_keeps_its_end_writes_a_last_checkpoint(
    context: Any, keeps_end: bool
) -> None:
    given = context(settings=SETTINGS, criterion=latest(), keeps_end=keeps_end)
    train(given, mixed_loss)
    found = [path.name for path in given.scratch.glob("step-*")]
    assert found == ([f"step-{STEPS:08d}"] if keeps_end else [])


class Counted:
    """A step that keeps what is counted and shown."""

    def __init__(self) -> None:
        self.amounts: list[int] = []
        self.notes: list[str] = []

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.amounts.append(amount)
        self.notes.append(note)


def test_progress_counts_every_step_and_shows_its_loss(context: Any) -> None:
    counted = Counted()
    made = train(context(settings=SETTINGS, criterion=latest(), step=counted), mixed_loss)
    assert counted.amounts == [0, *[1] * STEPS]
    assert counted.notes[-1].startswith(f"loss {made.history[-1]['loss']:.3f}, ")
    assert counted.notes[-1].endswith(" supervised tokens/s")


def test_a_gradient_below_the_limit_is_not_clipped(context: Any) -> None:
    """Adam divides by the gradient's size, so only the ratio between steps shows a clip."""
    ends = []
    for clip_norm in (1e3, 1e9):
        given = context(
            settings=SETTINGS.model_copy(update={"clip_norm": clip_norm}), criterion=latest()
        )
        ends.append(train(given, mixed_loss).model.model.state_dict())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
