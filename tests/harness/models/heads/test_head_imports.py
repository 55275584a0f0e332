"""Trained heads in the layouts of other code: read back to the bit, or refused by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from head_cases import ARCHITECTURES, scored_text, small_target
from safetensors.torch import load_file, save_file

from draftmark.errors import UserError
from draftmark.models.heads.feature_head import FeatureHead, HeadShape, make_head
from draftmark.models.heads.head_exports import LAYOUTS, Layout, export_head
from draftmark.models.heads.head_imports import check_head, read_head
from draftmark.models.heads.head_layouts import read_head_facts
from draftmark.models.language_model import LanguageModel
from draftmark.models.weights import check_folder
from draftmark.types import AcceptanceTable, Sampler, Samplers, Text

TEXT = Text("a", (3, 9, 4, 17), (5, 60, 2, 8, 11, 7))
KEPT = torch.tensor([2, 5, 7, 8, 60])
ONE = Samplers(Sampler(1.0), Sampler(1.0))
NORMS: dict[str, dict[str, bool]] = {
    "eagle3": {},
    "eagle3.1": {"fc_norm": True, "norm_output": True},
    "fc_norm": {"fc_norm": True},
    "norm_output": {"norm_output": True},
    "norm_before": {"norm_before_fc": True, "norm_before_residual": True},
}


def random_head(
    target: LanguageModel, kind: Any, cut: torch.Tensor | None = None, **norms: bool
) -> FeatureHead:
    """Return a head with random weights everywhere, its norms included."""
    size = None if cut is None else len(cut)
    shape = HeadShape(kind, ARCHITECTURES[kind], target.vocab_size, size, **norms)
    head = make_head(target, shape, seed=0, draft_ids=cut)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(1 + noise / 4 if parameter.dim() == 1 else noise / 4)
    return head


def exported(head: FeatureHead, layout: Layout, folder: Path) -> Path:
    export_head(head, layout, folder, target="the/target", num_speculative_tokens=3)
    return folder


def scored(head: FeatureHead, target: LanguageModel) -> AcceptanceTable:
    return scored_text(head, target, TEXT, ONE)


def changed(folder: Path, **keys: Any) -> Path:
    """Change keys of a head's config; None deletes one."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text("utf-8")), **keys}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}), "utf-8")
    return folder


def with_tensors(folder: Path, **tensors: torch.Tensor | None) -> Path:
    """Change tensors of a head's file, by names with _ for the dot; None deletes one."""
    path = folder / "model.safetensors"
    found = {**load_file(path), **{name.replace("__", "."): t for name, t in tensors.items()}}
    save_file({name: t for name, t in found.items() if t is not None}, path)
    return folder


@pytest.mark.parametrize("family", ["llama", "qwen3"])
@pytest.mark.parametrize("norms", NORMS)
@pytest.mark.parametrize("cut", [None, KEPT], ids=["whole", "cut"])
@pytest.mark.parametrize("layout", LAYOUTS["eagle3"])
def test_an_exported_head_reads_back_as_the_same_table_to_the_bit(
    layout: Layout, cut: torch.Tensor | None, norms: str, family: str, tmp_path: Path
) -> None:
    target = small_target(family)
    head = random_head(target, "eagle3", cut, **NORMS[norms])
    read = read_head(exported(head, layout, tmp_path), target, "a/head")
    assert read.model.shape == head.model.shape
    first, second = scored(head, target), scored(read, target)
    assert np.array_equal(first.accept_SD, second.accept_SD)
    assert np.array_equal(first.overlap_S, second.overlap_S)
    assert 0 < first.accept_SD.sum() < first.accept_SD.size


def test_an_eagle_head_reads_back_as_the_same_table_to_the_bit(tmp_path: Path) -> None:
    target = small_target("llama")
    head = random_head(target, "eagle")
    read = read_head(exported(head, "eagle", tmp_path), target, "a/head")
    assert read.model.shape == head.model.shape
    assert np.array_equal(scored(head, target).accept_SD, scored(read, target).accept_SD)


def test_a_head_needs_no_tokenizer_and_its_file_may_be_in_half_precision(tmp_path: Path) -> None:
    target = small_target("llama")
    head = random_head(target, "eagle3")
    folder = exported(head, "eagle3", tmp_path)
    check_folder(folder, head=True)
    halves = {name: t.bfloat16() for name, t in load_file(folder / "model.safetensors").items()}
    save_file(halves, folder / "model.safetensors")
    read = read_head(folder, target, "a/head")
    assert read.model.fc.weight.dtype == torch.float32
    assert torch.equal(read.model.fc.weight, head.model.fc.weight.bfloat16().float())


def test_rows_that_pad_the_vocabulary_come_back(tmp_path: Path) -> None:
    target = replace(small_target("llama"), vocab_size=62)
    head = random_head(target, "eagle3")
    read = read_head(exported(head, "speculators", tmp_path), target, "a/head")
    assert read.model.shape == head.model.shape
    assert np.array_equal(scored(head, target).accept_SD, scored(read, target).accept_SD)


def test_ids_beyond_the_tokenizer_leave_the_draft_vocabulary(tmp_path: Path) -> None:
    whole = small_target("llama")
    head = random_head(whole, "eagle3", torch.tensor([2, 5, 61, 63]))
    folder = exported(head, "eagle3", tmp_path)
    read = read_head(folder, replace(whole, vocab_size=60), "a/head")
    assert read.model.draft_ids_V.tolist() == [2, 5]


def test_embedding_and_output_head_are_the_files_if_it_has_them_else_the_targets(
    tmp_path: Path,
) -> None:
    target = small_target("llama")
    folder = exported(random_head(target, "eagle3", KEPT), "eagle3", tmp_path)
    theirs = target.model.get_output_embeddings().weight
    read = read_head(with_tensors(folder, lm_head__weight=None), target, "a/head")
    assert torch.equal(read.model.get_output_embeddings().weight, theirs[KEPT])
    assert torch.equal(read.model.get_input_embeddings().weight, theirs)  # tied
    assert not read.model.shape.own_embedding
    own = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    read = read_head(with_tensors(folder, embed_tokens__weight=own), target, "a/head")
    assert torch.equal(read.model.get_input_embeddings().weight, own)
    again = read_head(exported(read, "speculators", tmp_path / "again"), target, "a/head")
    assert torch.equal(again.model.get_input_embeddings().weight, own)


def test_a_head_may_be_narrower_than_its_target(tmp_path: Path) -> None:
    """Its states are the target's, its embedding and output head its own."""
    narrow, target = small_target("llama"), small_target("llama", hidden_size=48)
    shape = HeadShape("eagle3", (1, 2, 3), 64, fc_norm=True, state_size=48, own_embedding=True)
    head = make_head(narrow, shape, seed=0)
    read = read_head(exported(head, "eagle3", tmp_path), target, "a/head")
    assert read.model.shape == shape
    assert np.array_equal(scored(head, target).accept_SD, scored(read, target).accept_SD)


def test_layers_inside_eagle_config_are_counted_from_0(tmp_path: Path) -> None:
    target = small_target("llama")
    folder = exported(random_head(target, "eagle3"), "eagle3", tmp_path)
    nested = {"eagle_aux_hidden_state_layer_ids": [2, 0, 1], "use_aux_hidden_state": True}
    changed(folder, eagle_aux_hidden_state_layer_ids=None, eagle_config=nested)
    facts = read_head_facts(folder, "a/head")
    assert (facts.layers, facts.vllm_layers) == ((1, 2, 3), (0, 1, 2))
    assert read_head(folder, target, "a/head").model.shape.layers == (1, 2, 3)
    changed(folder, eagle_config=None)
    usual = read_head_facts(folder, "a/head")
    assert usual.layers is None
    assert usual.layers_of(36) == (2, 18, 33)


Change = Callable[[Path], Path]
REFUSED: dict[str, tuple[str, Change]] = {
    "another model of speculators": (
        "describes a 'dflash' of speculators",
        lambda folder: changed(folder, speculators_model_type="dflash"),
    ),
    "another architecture": (
        "names architectures \\['Eagle3DeepseekV2ForCausalLM'\\]",
        lambda folder: changed(folder, architectures=["Eagle3DeepseekV2ForCausalLM"]),
    ),
    "an unknown key": (
        "has the key 'gated_fc', whose meaning is unknown",
        lambda folder: changed(folder, gated_fc=True),
    ),
    "a value of another type": (
        "fc_norm: Input should be a valid boolean",
        lambda folder: changed(folder, fc_norm="yes"),
    ),
    "another family": (
        "not model_type 'gemma'",
        lambda folder: changed(folder, model_type="gemma"),
    ),
    "sliding attention": (
        "sliding attention",
        lambda folder: changed(folder, layer_types=["sliding_attention"]),
    ),
    "an unknown rotary embedding": (
        "is of type 'longrope'",
        lambda folder: changed(folder, rope_scaling={"rope_type": "longrope"}),
    ),
    "another hidden size": (
        "hidden size 64, and this target has 32",
        lambda folder: changed(folder, target_hidden_size=64),
    ),
    "another vocabulary": (
        "vocabulary of 128, and the target of 64",
        lambda folder: changed(folder, vocab_size=128),
    ),
    "layers that the target lacks": (
        "reads layers 1, 2, 9 of its target",
        lambda folder: changed(folder, eagle_aux_hidden_state_layer_ids=[9, 2, 1]),
    ),
    "the final state, whose norm is unclear": (
        "reads layers 2, 3, 4 of its target, and this target has layers 0 to 3",
        lambda folder: changed(folder, eagle_aux_hidden_state_layer_ids=[2, 3, 4]),
    ),
    "a tensor of another shape": (
        r"causal.model.layers.0.mlp.up_proj.weight is \(40, 32\), not \(48, 32\)",
        lambda folder: with_tensors(folder, midlayer__mlp__up_proj__weight=torch.zeros(40, 32)),
    ),
    "a tensor too many": (
        "1 tensors belong to no weight \\(gate.weight",
        lambda folder: with_tensors(folder, gate__weight=torch.zeros(3)),
    ),
    "a tensor too few": (
        r"1 of \d+ weights are missing \(norm.weight\)",
        lambda folder: with_tensors(folder, norm__weight=None),
    ),
    "no map": ("and no d2t", lambda folder: with_tensors(folder, d2t=None)),
    "a map of ids, not of differences": (
        "d2t does not map each draft token",
        lambda folder: with_tensors(folder, d2t=KEPT + 60),
    ),
    "maps that were never loaded": (
        "t2d and d2t name different tokens",
        lambda folder: with_tensors(folder, d2t=torch.zeros(5, dtype=torch.long)),
    ),
    "a language model": (
        "no tensor fc.weight",
        lambda folder: with_tensors(folder, fc__weight=None),
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_known_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    words, change = REFUSED[kind]
    target = small_target("llama")
    folder = change(exported(random_head(target, "eagle3", KEPT), "eagle3", tmp_path))
    with pytest.raises(UserError, match=words):
        read_head(folder, target, "a/head")
    with pytest.raises(UserError, match=words):
        check_head(folder, "a/head", target.model.config, target.vocab_size)


def test_speculators_must_name_what_its_readers_disagree_on(tmp_path: Path) -> None:
    folder = exported(random_head(small_target("qwen3"), "eagle3"), "speculators", tmp_path)
    with pytest.raises(UserError, match="vLLM takes true and speculators false"):
        read_head_facts(changed(folder, norm_before_residual=None), "a/head")


def test_pickles_are_refused_with_the_fix(tmp_path: Path) -> None:
    folder = exported(random_head(small_target("llama"), "eagle3"), "eagle3", tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"it has pytorch_model.bin.*save them with safetensors"):
        check_folder(folder, head=True)


def test_an_eagle_head_has_the_output_head_of_its_target(tmp_path: Path) -> None:
    target = small_target("llama")
    folder = exported(random_head(target, "eagle"), "eagle", tmp_path)
    with_tensors(folder, lm_head__weight=torch.zeros(64, 32))
    with pytest.raises(UserError, match=r"EAGLE-1 head with an lm_head.weight that is not"):
        read_head(folder, target, "a/head")


def test_the_bias_of_an_eagle_head_is_read(tmp_path: Path) -> None:
    """EAGLE's own code has one by default; vLLM's heads have none."""
    target = small_target("llama")
    folder = exported(random_head(target, "eagle"), "eagle", tmp_path)
    bias = torch.randn(32, generator=torch.Generator().manual_seed(0))
    read = read_head(with_tensors(changed(folder, bias=True), fc__bias=bias), target, "a/head")
    assert read.model.fc.bias is not None
    assert torch.equal(read.model.fc.bias, bias)
    with pytest.raises(UserError, match="no bias in fc"):
        exported(read, "eagle", tmp_path / "again")
