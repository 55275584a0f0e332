"""Every family trains, is scored and decodes, from its folder: tiny random models of each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from family_cases import (
    BIASED_HEADS,
    CONTEXT,
    FAMILIES,
    LAYERS,
    ROWS,
    TIED,
    TOKENS,
    save_family,
    word_tokenizer,
)
from family_stages import SETTINGS, STARTS, Family, acceptances, decoded, family_in, tables, trained
from transformers import AutoModelForCausalLM

from draftmark.config.model_sections import DraftInit
from draftmark.errors import UserError
from draftmark.models.draft_inits import fit_head, make_draft
from draftmark.models.hidden_states import StoredHiddenStates
from draftmark.models.language_model import (
    LanguageModel,
    cast_weights,
    drop_body,
    load_model,
    save_model,
)
from draftmark.speculation.blocks import block_counts
from draftmark.types import GREEDY, Placement, Sampler


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Family]:
    """Return a function that gives a family, made when it is first asked for."""
    made: dict[str, Family] = {}

    def get(name: str) -> Family:
        if name not in made:
            made[name] = family_in(save_family(name, tmp_path_factory.mktemp(name) / "target"))
        return made[name]

    return get


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, families: Callable[[str], Family]) -> Family:
    return families(request.param)


def vocabulary(model: LanguageModel) -> list[torch.Tensor]:
    """Return the weights of embedding and head, and the head's bias if there is one."""
    parts = (model.model.get_input_embeddings(), model.model.get_output_embeddings())
    return [*(part.weight for part in parts), *biases(model)]


def biases(model: LanguageModel) -> list[torch.Tensor]:
    bias = model.model.get_output_embeddings().bias
    return [] if bias is None else [bias]


def test_body_and_head_taken_apart_give_the_models_own_logits(family: Family) -> None:
    target = family.target
    ids = torch.randint(1, TOKENS, (2, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = target.model(input_ids=ids).logits
        apart = target.logits(target.hidden(ids))
    assert own.shape[-1] == ROWS
    torch.testing.assert_close(apart, own[..., :TOKENS])
    assert (target.hidden_size, target.max_positions) == (32, CONTEXT)
    family_name = target.model.config.model_type
    assert target.model.config.tie_word_embeddings is (family_name in TIED)
    assert bool(biases(target)) is (family_name in BIASED_HEADS)


def test_what_is_right_of_a_text_does_not_change_its_hidden_states(family: Family) -> None:
    ids = torch.randint(1, TOKENS, (2, 30), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 20:] = 0
    with torch.no_grad():
        padded = family.target.hidden(ids, mask)[1, :20]
        torch.testing.assert_close(padded, family.target.hidden(ids[1:, :20])[0])


def test_a_family_that_does_something_else_after_its_head_is_refused(tmp_path: Path) -> None:
    """RecurrentGemma caps its logits by a config value of another name."""
    config = transformers.RecurrentGemmaConfig(
        vocab_size=ROWS,
        hidden_size=32,
        intermediate_size=48,
        lru_width=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        attention_window_size=CONTEXT,
        logits_soft_cap=0.5,
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    save_model(LanguageModel(model, TOKENS), word_tokenizer(TOKENS), tmp_path)
    with pytest.raises(UserError, match="RecurrentGemmaForCausalLM transforms its logits"):
        load_model(tmp_path)


def test_a_cast_model_is_the_model_loaded_in_that_dtype(family: Family) -> None:
    ids = torch.randint(1, TOKENS, (2, CONTEXT), generator=torch.Generator().manual_seed(0))
    loaded = load_model(family.directory, Placement(dtype="bfloat16"))
    cast = load_model(family.directory)
    cast_weights(cast, "bfloat16")
    with torch.no_grad():
        assert torch.equal(cast.logits(cast.hidden(ids)), loaded.logits(loaded.hidden(ids)))


def test_a_target_without_its_body_gives_the_same_logits(family: Family) -> None:
    loaded = load_model(family.directory)
    hidden = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = loaded.logits(hidden)
        drop_body(loaded)
        cast_weights(loaded, "float32")
        assert torch.equal(loaded.logits(hidden), expected)
        cast_weights(loaded, "bfloat16")
        torch.testing.assert_close(
            loaded.logits(hidden.bfloat16()).float(), expected, atol=0.1, rtol=0.05
        )


def test_all_layers_kept_is_the_target_itself(family: Family) -> None:
    whole = make_draft(DraftInit(pruned=tuple(range(LAYERS))), family.target, seed=0)
    ids = torch.arange(1, 40)[None]
    with torch.no_grad():
        expected = family.target.logits(family.target.hidden(ids))
        assert torch.equal(whole.logits(whole.hidden(ids)), expected)


def test_a_pruned_draft_has_the_named_layers_in_their_order_and_all_else(family: Family) -> None:
    draft = make_draft(DraftInit(pruned=(2, 0)), family.target, seed=0)
    assert draft.model.config.num_hidden_layers == 2
    mine, its = (model.model.state_dict() for model in (draft, family.target))
    stack = "transformer.h." if "transformer.h.0.ln_1.weight" in its else "layers."
    order = {f"{stack}0.": f"{stack}2.", f"{stack}1.": f"{stack}0."}
    renamed = {}
    for name, tensor in mine.items():
        source = next((name.replace(a, b) for a, b in order.items() if a in name), name)
        renamed[source] = tensor
    assert len(renamed) == len(mine)
    assert renamed.keys() == {name for name in its if f"{stack}1." not in name}
    assert all(torch.equal(tensor, its[name]) for name, tensor in renamed.items())
    kinds = getattr(family.target.model.config, "layer_types", None)
    if kinds is not None:
        assert draft.model.config.layer_types == [kinds[2], kinds[0]]


@pytest.mark.parametrize("head", ["copied", "shared", "fitted"])
def test_a_pruned_draft_learns_and_only_a_copied_head_is_trained(
    family: Family, tmp_path: Path, head: str
) -> None:
    start = make_draft(STARTS[head], family.target, seed=0)
    if head == "fitted":
        start = fit_head(
            start, family.target, StoredHiddenStates.load(family.inputs["dataset texts"])
        )
    made = trained(family, STARTS[head], tmp_path)
    before, *_, after = acceptances(made)
    assert after > before + 0.01
    for initial, learnt in zip(vocabulary(start), vocabulary(load_model(made)), strict=True):
        assert torch.equal(initial, learnt) is (head != "copied")
        assert initial.requires_grad is (head == "copied")
    if head != "copied":  # a fitted head is a matrix of its own, the embedding stays the target's
        assert torch.equal(vocabulary(load_model(made))[0], vocabulary(family.target)[0])


def test_a_random_draft_learns(family: Family, tmp_path: Path) -> None:
    before, *_, after = acceptances(trained(family, STARTS["random"], tmp_path))
    assert after > before + 0.01


def test_a_given_draft_with_its_own_number_of_rows_learns(family: Family, tmp_path: Path) -> None:
    name = family.target.model.config.model_type
    given = save_family(name, tmp_path / "given", vocab_size=ROWS + 8)
    before, *_, after = acceptances(trained(family, STARTS["given"], tmp_path, given=given))
    assert after > before + 0.01


def test_a_draft_learns_in_bfloat16(family: Family, tmp_path: Path) -> None:
    made = trained(family, STARTS["copied"], tmp_path, dtype="bfloat16")
    before, *_, after = acceptances(made)
    assert after > before + 0.01
    assert load_model(made).model.dtype == torch.float32


@pytest.mark.parametrize("name", ["gpt2", "qwen3"])
def test_a_draft_learns_from_its_own_text_in_bfloat16(
    families: Callable[[str], Family], tmp_path: Path, name: str
) -> None:
    own = SETTINGS.model_copy(update={"passes": 6, "text": "draft"})
    before, *_, after = acceptances(
        trained(families(name), STARTS["copied"], tmp_path, dtype="bfloat16", training=own)
    )
    assert after > before + 0.01


def test_a_fitted_head_has_its_targets_bias(family: Family) -> None:
    start = make_draft(STARTS["random"], family.target, seed=0)
    fitted = fit_head(start, family.target, StoredHiddenStates.load(family.inputs["dataset texts"]))
    assert not any(weight.requires_grad for weight in vocabulary(fitted))
    for mine, its in zip(biases(fitted), biases(family.target), strict=True):
        assert torch.equal(mine[:TOKENS], its[:TOKENS])


def test_a_random_draft_has_the_values_asked_for_by_any_name(family: Family) -> None:
    draft = make_draft(STARTS["random"], family.target, seed=0)
    assert draft.model.config.num_hidden_layers == 1
    assert draft.hidden_size == draft.model.get_input_embeddings().weight.shape[1] == 64
    with pytest.raises(UserError, match=r"num_layerz.*num_hidden_layers"):
        make_draft(DraftInit(random={"num_layerz": 1}), family.target, seed=0)


def test_a_random_draft_with_fewer_rows_than_tokens_is_refused(
    families: Callable[[str], Family],
) -> None:
    with pytest.raises(UserError, match=rf"{TOKENS} tokens, .* only {TOKENS - 1} rows"):
        make_draft(DraftInit(random={"vocab_size": TOKENS - 1}), families("llama").target, seed=0)


@pytest.mark.parametrize("sampler", [GREEDY, Sampler(1.0)])
def test_a_draft_that_is_its_target_scores_exactly_one(
    family: Family, sampler: Sampler, tmp_path: Path
) -> None:
    for table in tables(family, load_model(family.directory), sampler, tmp_path):
        assert np.all(table.accept_SD[:, 0] == 1.0)
        assert np.all(table.overlap_S == 1.0)


def test_the_engine_is_lossless_and_its_passes_are_predicted_exactly(
    family: Family, tmp_path: Path
) -> None:
    draft = make_draft(STARTS["copied"], family.target, seed=0)
    save_model(draft, word_tokenizer(TOKENS), tmp_path / "draft")
    alone, together = decoded(family, None), decoded(family, tmp_path / "draft")
    responses = [text.response_ids for text in family.greedy]
    assert [item.token_ids for item in alone] == responses
    assert [item.token_ids for item in together] == responses
    counts = block_counts(tables(family, draft, GREEDY, tmp_path), 3)
    assert [item.target_passes for item in together] == counts.passes_B.tolist()
    accepted = [sum(round_.accepted for round_ in item.rounds) for item in together]
    assert accepted == counts.accepted_B.tolist()
    assert 0 < sum(accepted) < counts.drafted_B.sum()  # or it would say little
