"""A fine-tuned target: better on rows that it has not seen, never worse, and loadable as it was."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from draftmark.config.model_sections import DraftInit, FineTuning, Pair
from draftmark.data.prompts import encode_gold
from draftmark.data.rows import load_rows
from draftmark.models.files import end_tokens
from draftmark.models.language_model import (
    LanguageModel,
    check_same_tokenizer,
    load_model,
    load_tokenizer,
)
from draftmark.progress import Progress
from draftmark.registry import find_registered
from draftmark.store.graph import Job
from draftmark.store.records import TARGET, TEXTS, write_texts
from draftmark.training.fine_tuning import fine_tune
from draftmark.training.validation import loss_criterion
from draftmark.types import Split, Text

PAIR = Pair(name="p", target="tiny-target", draft=DraftInit(pruned=(0,)), dtype="float32")
RECIPE = FineTuning(passes=2, rows_per_batch=4, learning_rate=3e-4, validations=2)


@pytest.fixture(scope="module")
def gold(tokenizer: Any) -> Callable[[Split, int], list[Text]]:
    """Return what gives gold answers in words that the tiny target does not use."""

    def texts(split: Split, count: int) -> list[Text]:
        rows = load_rows(find_registered("tasks", "gsm8k"), split, count, sources=["samples"])
        said = [replace(row, reference=f"So we count. {row.reference}") for row in rows.examples]
        return encode_gold(tokenizer, said, frozenset({tokenizer.eos_token_id}))

    return texts


@pytest.fixture
def tuned(
    gold: Callable[[Split, int], list[Text]], tiny_directory: Path, tmp_path: Path
) -> Callable[..., Path]:
    """Return what fine-tunes the tiny target into a folder."""

    def make(recipe: FineTuning, pair: Pair = PAIR) -> Path:
        inputs = {"target": tiny_directory}
        for split, count in (("train", 24), ("validation", 6)):
            inputs[split] = tmp_path / split
            inputs[split].mkdir()
            write_texts(inputs[split] / TEXTS, gold(split, count))
        out, scratch = tmp_path / "out", tmp_path / "scratch"
        out.mkdir()
        job = Job(inputs, out, scratch, Progress(quiet=True))
        fine_tune(pair, recipe, end_tokens(tiny_directory), 0, job)
        return out

    return make


def _validation_losses(folder: Path) -> list[float]:
    history = json.loads((folder / TARGET).read_text("utf-8"))["history"]
    return [point["validation_loss"] for point in history]


def test_a_fine_tuned_target_does_better_on_rows_that_it_has_not_seen(
    tuned: Any, gold: Any, target: LanguageModel, tiny_directory: Path
) -> None:
    folder = tuned(RECIPE)

    made, unseen = load_model(folder), loss_criterion(gold("test", 8))
    assert unseen.measure(made) < 0.7 * unseen.measure(target)
    losses = _validation_losses(folder)
    assert loss_criterion(gold("validation", 6)).measure(made) == pytest.approx(
        min(losses), rel=1e-4
    )
    ledger = json.loads((folder / TARGET).read_text("utf-8"))["ledger"]
    assert (ledger["steps"], ledger["rows"]) == (12, 48)
    assert ledger["supervised_tokens"] > 0
    assert ledger["generated_tokens"] == ledger["target_forward_tokens"] == 0
    assert end_tokens(folder) == end_tokens(tiny_directory)
    tokenizers = load_tokenizer(folder), load_tokenizer(tiny_directory)
    check_same_tokenizer(*tokenizers, ("tuned", "base"))
    assert tokenizers[0].chat_template == tokenizers[1].chat_template
    assert list(folder.glob("*.safetensors"))


def test_fine_tuning_that_does_harm_leaves_the_target_as_it_was(
    tuned: Any, target: LanguageModel
) -> None:
    folder = tuned(RECIPE.model_copy(update={"learning_rate": 0.3}))

    losses = _validation_losses(folder)
    assert min(losses) == losses[0]
    kept = load_model(folder).model.state_dict()
    for name, tensor in target.model.state_dict().items():
        assert torch.equal(kept[name], tensor)


def test_a_target_is_fine_tuned_in_bfloat16_with_weights_in_float32(tuned: Any) -> None:
    short = RECIPE.model_copy(update={"passes": 0.5})
    folder = tuned(short, PAIR.model_copy(update={"dtype": "bfloat16"}))

    losses = _validation_losses(folder)
    assert losses[-1] < losses[0]
    assert load_model(folder).model.config.dtype == torch.float32
