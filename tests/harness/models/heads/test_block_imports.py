"""Block heads that other code trained: read through a recipe's path, or refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from block_cases import BLOCK_METHODS, random_head
from head_cases import small_target
from safetensors.torch import load_file, save_file

from draftmark.baselines.untrained import MeasuredBlockHead, Untrained
from draftmark.engines.measure.lossless import read_target_logits
from draftmark.errors import UserError
from draftmark.models.heads.block_exports import block_layouts, export_block_head
from draftmark.models.heads.block_head import BlockHead
from draftmark.models.heads.block_imports import check_any_head, read_any_head
from draftmark.models.heads.block_layouts import BlockFacts, read_trained_head
from draftmark.models.heads.head_layouts import is_head
from draftmark.models.language_model import LanguageModel
from draftmark.models.weights import check_folder
from draftmark.speculation.block_drafter import BlockDrafter
from draftmark.types import Placement, Sampler, Samplers, Text

TEXT = Text("a", (3, 9, 4, 17), (5, 60, 2, 8, 11, 7))
LAYOUTS = [
    (name, layout)
    for name, layouts in (
        ("medusa", ("medusa",)),
        ("p_eagle", ("eagle3", "speculators")),
        ("dflash", ("dflash", "speculators")),
        ("dspark", ("dspark", "speculators")),
        ("domino", ("domino",)),
    )
    for layout in layouts
]


@pytest.fixture(scope="module")
def target() -> LanguageModel:
    return small_target("llama")


def exported(name: str, layout: Any, target: LanguageModel, folder: Path) -> BlockHead:
    head = random_head(BLOCK_METHODS[name], target)
    assert layout in block_layouts(head)
    export_block_head(head, layout, folder, target="the/target")
    return head


def changed(folder: Path, place: str = "", **keys: Any) -> None:
    """Change keys of a head's config, or of a table in it; None deletes one."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    table = config[place] if place else config
    table.update(keys)
    for key in [key for key, value in keys.items() if value is None]:
        del table[key]
    path.write_text(json.dumps(config), "utf-8")


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_an_exported_head_is_measured_as_the_head_itself(
    name: str, layout: str, target: LanguageModel, tmp_path: Path
) -> None:
    """Checked, read, saved, loaded and scored as a run does; the tables are equal to the bit."""
    folder, own = tmp_path / "head", tmp_path / "own"
    head = exported(name, layout, target, folder)
    check_folder(folder, head=True)
    facts = check_any_head(folder, "a/head", target.model.config, target.vocab_size)
    method = Untrained().start_from(facts)
    assert isinstance(method, MeasuredBlockHead)
    layers = target.model.config.num_hidden_layers
    assert method.layers(layers) == head.model.shape.layers
    own.mkdir()
    read_any_head(folder, target, "a/head").model.save_pretrained(own)
    loaded = method.drafter(own, Placement())
    known, how = read_target_logits(target, [TEXT]), Samplers(Sampler(1.0), Sampler(1.0))
    (mine,) = BlockDrafter(head).score([TEXT], known, how)
    (theirs,) = loaded.score([TEXT], known, how)
    np.testing.assert_array_equal(theirs.accept_SD, mine.accept_SD)
    np.testing.assert_array_equal(theirs.drafted_S, mine.drafted_S)
    np.testing.assert_array_equal(theirs.overlap_S, mine.overlap_S)
    assert len(np.unique(mine.accept_SD)) > 6


def test_configs_of_block_heads_name_them(target: LanguageModel, tmp_path: Path) -> None:
    """A language model of such a folder is refused; heads of the authors read alike."""
    for number, (name, layout) in enumerate(LAYOUTS):
        folder = tmp_path / str(number)
        head = exported(name, layout, target, folder)
        assert is_head(json.loads((folder / "config.json").read_text("utf-8")))
        facts = read_trained_head(folder, "a/head")
        assert isinstance(facts, BlockFacts)
        assert (facts.kind, facts.block_size) == (name, head.block_size)
    authors = {"num_target_layers": 4, "num_anchors": 512, "target_model_type": "llama"}
    changed(folder, **authors)
    assert read_trained_head(folder, "a/head") == facts


@pytest.mark.parametrize(
    ("name", "place", "keys", "words"),
    [
        ("dflash", "", {"new_key": 1}, "has the key 'new_key', whose meaning is unknown here"),
        ("dflash", "transformer_layer_config", {"new": 1}, r"'transformer_layer_config\.new'"),
        ("dflash", "transformer_layer_config", {"model_type": "llama"}, "layers of qwen3 are read"),
        ("dflash", "transformer_layer_config", {"use_sliding_window": True}, "sliding attention"),
        ("dflash", "", {"sample_from_anchor": True}, "sample_from_anchor = True is not read"),
        ("dflash", "", {"draft_vocab_size": 9}, "drafts only 9 of 64 tokens"),
        ("dflash", "", {"target_hidden_size": 16}, "narrower or wider than its target"),
        ("dflash", "", {"aux_hidden_state_layer_ids": [3, 1]}, "lowest first"),
        ("dflash", "", {"mask_token_id": None}, "has no mask_token_id"),
        ("dflash", "", {"block_size": 1}, "has no block_size of drafted tokens"),
        ("dflash", "", {"speculators_model_type": "mlp"}, "describes a 'mlp' of speculators"),
        ("dspark", "", {"markov_head_type": "rnn"}, "markov_head_type = 'rnn' is not read"),
        ("dspark", "", {"enable_confidence_head": False}, "enable_confidence_head = 'False'"),
        ("dspark", "", {"markov_rank": None}, "has no markov_rank"),
        ("p_eagle", "", {"norm_before_residual": True}, "norm_before_residual = 'True' is not"),
    ],
)
def test_what_is_unknown_is_refused_by_name(
    name: str, place: str, keys: dict[str, Any], words: str, target: LanguageModel, tmp_path: Path
) -> None:
    exported(name, "speculators", target, tmp_path)
    changed(tmp_path, place, **keys)
    with pytest.raises(UserError, match=words):
        check_any_head(tmp_path, "a/head", target.model.config, target.vocab_size)


@pytest.mark.parametrize(
    ("layout", "keys", "words"),
    [
        ("domino", {"shift_label": False}, "only a Domino with shift_label = true is read"),
        ("domino", {"emb_dim": None}, "has no emb_dim of 1 or more"),
        ("domino", {"gru_hidden_dim": None}, "has no gru_hidden_dim of 1 or more"),
        ("domino", {"projector_type": "dspark"}, "projector_type"),
        ("dflash", {"shift_label": True}, "dflash_config.shift_label is read only in a Domino"),
    ],
)
def test_dominos_settings_are_read_whole_or_refused(
    layout: str, keys: dict[str, Any], words: str, target: LanguageModel, tmp_path: Path
) -> None:
    exported(layout, layout, target, tmp_path)
    changed(tmp_path, "dflash_config", **keys)
    with pytest.raises(UserError, match=words):
        check_any_head(tmp_path, "a/head", target.model.config, target.vocab_size)


def test_a_domino_is_read_as_its_authors_publish_it(target: LanguageModel, tmp_path: Path) -> None:
    """By the name of DFlash, with names of tensors as SpecForge first wrote them."""
    exported("domino", "domino", target, tmp_path)
    own = read_any_head(tmp_path, target, "a/head").model.state_dict()
    changed(tmp_path, architectures=["DFlashDraftModel"], emb_dim=8)
    weights = load_file(tmp_path / "model.safetensors")
    early = {
        f"logit_head.{name}" if name.startswith(("prefix_gru", "embed_proj")) else name: value
        for name, value in weights.items()
    }
    save_file(early, tmp_path / "model.safetensors")
    read = read_any_head(tmp_path, target, "a/head").model.state_dict()
    assert read.keys() == own.keys()
    assert all(torch.equal(read[name], own[name]) for name in own)


def test_heads_of_other_targets_and_cut_files_are_refused(
    target: LanguageModel, tmp_path: Path
) -> None:
    exported("dflash", "speculators", target, tmp_path)
    wide = small_target("llama", hidden_size=64)
    with pytest.raises(UserError, match="for a target with hidden size 32, and this target has 64"):
        check_any_head(tmp_path, "a/head", wide.model.config, 64)
    weights = load_file(tmp_path / "model.safetensors")
    short = small_target("llama", num_hidden_layers=2)
    with pytest.raises(UserError, match="reads layers 1, 2, 3 of its target, and this target has"):
        check_any_head(tmp_path, "a/head", short.model.config, 64)
    for tensors, words in (
        ({**weights, "fc.weight": weights["fc.weight"][:, 1:].contiguous()}, "have another shape"),
        ({**weights, "fc.bias": torch.zeros(32)}, r"1 tensors belong to no weight \(fc\.bias\)"),
        ({**weights, "lm_head.weight": torch.zeros(64, 32)}, "has output.weight of its own"),
    ):
        save_file(tensors, tmp_path / "model.safetensors")
        with pytest.raises(UserError, match=words):
            read_any_head(tmp_path, target, "a/head")
