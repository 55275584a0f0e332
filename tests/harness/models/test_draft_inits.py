"""The head fitted in closed form: exact where the states determine each other, useful elsewhere."""

from pathlib import Path
from typing import Any

import pytest
import torch

from draftmark.config.model_sections import DraftInit
from draftmark.models.draft_inits import fit_head, make_draft
from draftmark.models.hidden_states import StoredHiddenStates, hidden_states, write_hidden_states
from draftmark.models.language_model import LanguageModel, load_model, save_model
from draftmark.progress import Progress
from draftmark.types import Text


@pytest.fixture
def features(target: LanguageModel, greedy_texts: list[Text], tmp_path: Path) -> StoredHiddenStates:
    with Progress(quiet=True).step("", 32) as step:
        write_hidden_states(target, greedy_texts[:32], tmp_path, dtype="float32", step=step)
    return StoredHiddenStates.load(tmp_path)


def agreement(draft: LanguageModel, features: StoredHiddenStates, target: LanguageModel) -> float:
    """Return the mean overlap of the two laws at temperature 1."""
    total, tokens = 0.0, 0
    for text, hidden in hidden_states(draft, features.texts):
        with torch.no_grad():
            p = target.logits(features.last_layer_of(text)).softmax(-1)
            q = draft.logits(hidden).softmax(-1)
        total += float(torch.minimum(p, q).sum())
        tokens += len(q)
    return total / tokens


def test_the_whole_target_is_fitted_to_itself(
    target: LanguageModel, features: StoredHiddenStates
) -> None:
    whole = make_draft(DraftInit(pruned=tuple(range(8))), target, seed=0)
    assert agreement(fit_head(whole, target, features), features, target) > 0.99


def test_a_rotated_target_is_rotated_back(
    target: LanguageModel, features: StoredHiddenStates
) -> None:
    """Negating every channel after the last norm is undone by the fit, whatever it is."""
    whole = make_draft(DraftInit(pruned=tuple(range(8))), target, seed=0)
    with torch.no_grad():
        whole.model.model.norm.weight.neg_()
    assert agreement(whole, features, target) < 0.2
    assert agreement(fit_head(whole, target, features), features, target) > 0.99


def test_a_fitted_head_starts_a_pruned_draft_well_above_a_copied_one(
    target: LanguageModel, features: StoredHiddenStates
) -> None:
    draft = make_draft(DraftInit(pruned=(0, 7)), target, seed=0)
    before = agreement(draft, features, target)
    assert agreement(fit_head(draft, target, features), features, target) > before + 0.1


def test_a_fitted_draft_is_saved_and_loaded_with_its_own_head(
    target: LanguageModel, features: StoredHiddenStates, tokenizer: Any, tmp_path: Path
) -> None:
    draft = fit_head(make_draft(DraftInit(pruned=(0,)), target, seed=0), target, features)
    save_model(draft, tokenizer, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(loaded.logits(loaded.hidden(ids)), draft.logits(draft.hidden(ids)))
    embedding = loaded.model.get_input_embeddings().weight
    assert not torch.equal(loaded.model.get_output_embeddings().weight, embedding)


def test_a_fitted_head_is_not_trained(target: LanguageModel, features: StoredHiddenStates) -> None:
    draft = fit_head(make_draft(DraftInit(pruned=(0,)), target, seed=0), target, features)
    assert not draft.model.get_output_embeddings().weight.requires_grad
    assert not draft.model.get_input_embeddings().weight.requires_grad
    assert draft.model.model.layers[0].mlp.up_proj.weight.requires_grad
