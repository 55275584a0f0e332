"""A target spread by a memory limit over processor and disk gives the whole target's numbers."""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from block_cases import BLOCK_METHODS

from draftmark.config.model_sections import DraftInit
from draftmark.errors import UserError
from draftmark.models.draft_inits import fit_head, make_draft
from draftmark.models.generation import Sampling, generate
from draftmark.models.heads.feature_head import HeadShape, make_head
from draftmark.models.hidden_states import (
    LiveFinalStates,
    hidden_states,
    layer_states,
)
from draftmark.models.kv_cache import CachedModel
from draftmark.models.language_model import LanguageModel, drop_body, load_model
from draftmark.models.likelihoods import log_likelihoods
from draftmark.models.spread import is_spread, weights_of
from draftmark.types import Placement, Prompt, Sampler, Text

LIMITS = {"half on disk": "4MB", "all on disk": "100KB"}


@pytest.fixture(scope="module", params=LIMITS.values(), ids=LIMITS)
def spread(request: pytest.FixtureRequest, tiny_directory: Path) -> LanguageModel:
    loaded = load_model(tiny_directory, Placement(memory=(("cpu", request.param),)))
    assert is_spread(loaded.model)
    return loaded


@torch.no_grad()
def test_logits_and_states_of_every_layer_are_those_of_the_whole_target(
    target: LanguageModel, spread: LanguageModel
) -> None:
    ids_BT = torch.arange(40).view(2, 20)
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[0, :5] = 0
    for mask in (None, mask_BT):
        states = [layer_states(each, range(9), ids_BT, mask) for each in (target, spread)]
        assert torch.equal(*states)
    whole, split = (each.logits(each.hidden(ids_BT)) for each in (target, spread))
    assert torch.equal(whole, split)
    assert torch.equal(whole, spread.model(input_ids=ids_BT).logits[..., : spread.vocab_size])


def test_it_writes_and_reads_the_same_texts(
    target: LanguageModel, spread: LanguageModel, prompts: list[Prompt]
) -> None:
    sampling = Sampling(Sampler(1.0), 3, frozenset(), seed=0)
    written = [generate(each, prompts[:2], sampling, rows_per_batch=2) for each in (target, spread)]
    assert written[0] == written[1]
    for read in (hidden_states, log_likelihoods):
        for (text, own), (_, other) in zip(
            *(read(each, written[0]) for each in (target, spread)), strict=True
        ):
            assert torch.equal(torch.as_tensor(own), torch.as_tensor(other)), text.example_id


def test_it_verifies_a_tree_in_its_cache(target: LanguageModel, spread: LanguageModel) -> None:
    def feed(model: LanguageModel) -> Sequence[torch.Tensor]:
        cached = CachedModel(model, layers=(2,))
        first = cached.feed([5, 6, 7, 8, 9], [-1, -1, 0])
        cached.keep_nodes(2, [0, 2])
        return first, cached.feed([10]), cached.states_TLD

    with torch.no_grad():
        assert all(map(torch.equal, feed(target), feed(spread)))


def drafts_of(target: LanguageModel, texts: list[Text]) -> dict[str, Any]:
    pruned = make_draft(DraftInit(pruned=(0, 7)), target, seed=0)
    size = target.vocab_size
    cut = HeadShape("eagle3", (1, 4, 8), size, 16)
    heads = {
        "pruned": pruned,
        "random": make_draft(DraftInit(random={"num_hidden_layers": 1}), target, seed=0),
        "fitted": fit_head(pruned, target, LiveFinalStates(target, texts)),
        "eagle": make_head(target, HeadShape("eagle", (8,), size, None), seed=0),
        "eagle3": make_head(target, cut, seed=0, draft_ids=torch.arange(16), from_layer=3),
    }
    return heads | {name: method.head(target, texts, 0) for name, method in BLOCK_METHODS.items()}


def test_drafts_and_heads_get_its_weights(
    target: LanguageModel, spread: LanguageModel, greedy_texts: list[Text]
) -> None:
    whole, split = (drafts_of(each, greedy_texts[:2]) for each in (target, spread))
    for name, draft in whole.items():
        theirs = split[name].model.state_dict()
        for key, value in draft.model.state_dict().items():
            assert torch.equal(value, theirs[key]), (name, key)


def test_weights_of_a_part_are_those_of_the_whole_target(
    target: LanguageModel, spread: LanguageModel
) -> None:
    whole = target.model.state_dict()
    assert weights_of(spread.model).keys() == whole.keys()
    kept = weights_of(spread.model, without="model.layers.")
    assert kept.keys() == {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}
    assert all(torch.equal(value, whole[name]) for name, value in kept.items())


@pytest.mark.parametrize("size", LIMITS.values())
def test_the_head_alone_gives_logits_after_the_body_is_dropped(
    target: LanguageModel, tiny_directory: Path, size: str
) -> None:
    loaded = load_model(tiny_directory, Placement(memory=(("cpu", size),)))
    drop_body(loaded)
    states_ND = torch.randn(3, target.hidden_size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.logits(states_ND), target.logits(states_ND))
    names = [name for name, weight in loaded.model.named_parameters() if not weight.is_meta]
    assert names == ["lm_head.weight"]


def test_a_target_that_fits_is_whole_and_a_spread_one_leaves_no_folder(
    tiny_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert not is_spread(load_model(tiny_directory, Placement(memory=())).model)
    loaded = load_model(tiny_directory, Placement(memory=(("cpu", "4MB"),)))
    assert list(tmp_path.iterdir())
    del loaded
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_is_not_there_is_named(tiny_directory: Path) -> None:
    with pytest.raises(UserError, match="limits device '77', which this machine does not have"):
        load_model(tiny_directory, Placement(memory=(("77", "4GB"),)))
