"""Block heads: attention and anchors against slow loops, layouts, saved heads, refusals."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from block_cases import BLOCK_METHODS, random_head
from head_cases import small_target
from safetensors.torch import load_file, save_file
from transformers import DynamicCache

from draftmark.errors import UserError
from draftmark.models.heads.block_exports import block_layouts, export_block_head
from draftmark.models.heads.block_head import (
    BlockContext,
    BlockHead,
    block_shape,
    count_block_head,
    load_block_head,
)
from draftmark.models.heads.block_imports import read_block_head
from draftmark.models.heads.block_reading import read_blocks, slots_within
from draftmark.models.heads.head_exports import CONFIG, WEIGHTS
from draftmark.models.language_model import LanguageModel
from draftmark.models.shapes import model_shape
from draftmark.types import Placement, Text

TEXT = Text("a", (5, 9, 2, 7), (1, 60, 33, 4, 8, 8, 21))
NAMES = tuple(BLOCK_METHODS)


@pytest.fixture(scope="module")
def target() -> LanguageModel:
    return small_target("llama")


def loud_head(name: str, target: LanguageModel) -> BlockHead:
    """Return a head with weights so large that every slot matters."""
    head: BlockHead = BLOCK_METHODS[name].head(target, [], 0)
    torch.manual_seed(2)
    ends = {id(p) for end in (head.model.embedding, head.model.output) for p in end.parameters()}
    with torch.no_grad():
        for weight in head.model.parameters():
            if id(weight) not in ends:
                weight.add_(0.3 * torch.randn_like(weight))
    return head


def random_states(head: BlockHead) -> torch.Tensor:
    length = len(TEXT.prompt_ids) + len(TEXT.response_ids) - 1
    return torch.randn(
        (length, len(head.model.shape.layers), head.hidden_size),
        generator=torch.Generator().manual_seed(0),
    )


@torch.no_grad()
def one_at_a_time(head: BlockHead, states_TLD: torch.Tensor) -> torch.Tensor:
    """Return the states [R, K, X] of each block alone, after a text that ends at its anchor."""
    ids = torch.tensor([*TEXT.prompt_ids, *TEXT.response_ids])
    rows = []
    for start in range(len(TEXT.response_ids)):
        anchor = len(TEXT.prompt_ids) - 1 + start
        context = BlockContext(DynamicCache())
        head.model.extend(context, ids[1 : anchor + 1], head.fuse(states_TLD[:anchor]))
        drawn_AK = torch.ones(1, head.block_size, dtype=torch.bool)
        block = head.model.blocks(context, ids[anchor][None], torch.tensor([anchor]), drawn_AK)
        previous = (anchor + torch.arange(head.block_size)).clamp(max=len(ids) - 1)
        rows.append(head.model.join(block, ids[previous][None])[0])
    return torch.stack(rows)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_from_all_starts_at_once_are_those_of_one_start_at_a_time(
    name: str, target: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing leaks between blocks, or from behind an anchor, also where memory bounds a pass."""
    head = loud_head(name, target)
    states_TLD, drawn_RK = random_states(head), slots_within(7, head.block_size)
    slow = one_at_a_time(head, states_TLD) * drawn_RK[..., None]
    for at_once in (2048, 2 * head.block_size):
        monkeypatch.setattr("draftmark.models.heads.block_reading.SLOTS_AT_ONCE", at_once)
        with torch.no_grad():
            fast = read_blocks(head, TEXT, states_TLD, drawn_RK)
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(slow[0, 0], slow[1, 0], atol=1e-2)


@torch.no_grad()
def dflash_by_loops(module: Any, ids: list[int], features: torch.Tensor) -> torch.Tensor:
    """Return the states of the block after a text; attention loops over queries and keys."""
    config, anchor = module.layer_config, len(ids) - 1
    size, group = config.head_dim, config.num_attention_heads // config.num_key_value_heads
    tokens = [ids[-1]] + [module.shape.mask_token] * (module.shape.block_size)
    tokens = tokens[: module.shape.block_size + (not module.anchor_predicts)]
    states = module.embedding(torch.tensor(tokens))
    for layer in module.layers:
        own, attention = layer.input_layernorm(states), layer.self_attn
        mixed = []
        for place, query_D in enumerate(attention.q_proj(own)):
            heads = []
            for h in range(config.num_attention_heads):
                query = turn(module, attention.q_norm(query_D.view(-1, size)[h]), anchor + place)
                scores, values = [], []
                for at, source in enumerate([*features[:anchor], *own]):
                    key = attention.k_proj(source).view(-1, size)[h // group]
                    scores.append(query @ turn(module, attention.k_norm(key), at))
                    values.append(attention.v_proj(source).view(-1, size)[h // group])
                weights = (torch.stack(scores) / math.sqrt(size)).softmax(0)
                heads.append(weights @ torch.stack(values))
            mixed.append(attention.o_proj(torch.cat(heads)))
        states = states + torch.stack(mixed)
        states = states + layer.mlp(layer.post_attention_layernorm(states))
    return module.norm(states)[len(tokens) - module.shape.block_size :]


def turn(module: Any, vector: torch.Tensor, place: int) -> torch.Tensor:
    """Return a vector turned pair by pair, the pairs half a head apart."""
    half = len(vector) // 2
    base = module.layer_config.rope_parameters["rope_theta"]
    turned = vector.clone()
    for pair in range(half):
        angle = place * base ** (-pair / half)
        x, y = vector[pair], vector[pair + half]
        turned[pair] = x * math.cos(angle) - y * math.sin(angle)
        turned[pair + half] = x * math.sin(angle) + y * math.cos(angle)
    return turned


@pytest.mark.parametrize("name", ["dflash", "dspark", "domino"])
def test_attention_of_a_block_is_that_of_a_loop(name: str, target: LanguageModel) -> None:
    method = replace(BLOCK_METHODS[name], num_layers=2, block_size=3)
    head = method.head(target, [], 0)
    states_TLD = random_states(head)
    ids = [*TEXT.prompt_ids, *TEXT.response_ids[:1]]
    with torch.no_grad():
        features = head.fuse(states_TLD)
        fast = read_blocks(head, TEXT, states_TLD, slots_within(7, 3))[1]
    slow = dflash_by_loops(head.model, ids, features)
    torch.testing.assert_close(fast[:, : head.hidden_size], slow, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("uncorrected", [0, 2])
def test_a_gru_reads_a_block_as_a_loop_over_its_gates_does(
    uncorrected: int, target: LanguageModel
) -> None:
    method = replace(BLOCK_METHODS["domino"], uncorrected=uncorrected)
    head = random_head(method, target)
    gru, (inner, _, outer) = head.model.prefix_gru, head.model.embed_proj
    ids_K = torch.tensor([5, 60, 33, 4, 8, 8, 21])
    states_KD = torch.randn(7, head.hidden_size)
    with torch.no_grad():
        fast_KV = head.logits(head.model.join(states_KD[None], ids_K[None]))[0]
        slow, state_G = [], torch.zeros(method.gru_size)
        for k, (z_D, token) in enumerate(zip(states_KD, ids_K, strict=True)):
            read = (gru.weight_ih_l0 @ head.model.embedding.weight[token]).chunk(3)
            kept = (gru.weight_hh_l0 @ state_G).chunk(3)
            reset, update = ((read[n] + kept[n]).sigmoid() for n in (0, 1))
            new_G = (read[2] + reset * kept[2]).tanh()
            state_G = (1 - update) * new_G + update * state_G
            low_E = inner.weight @ torch.cat([z_D, state_G])
            added_V = outer.weight @ (low_E * low_E.sigmoid())
            slow.append(head.model.output.weight @ z_D + added_V * (k >= uncorrected))
    torch.testing.assert_close(fast_KV, torch.stack(slow), atol=1e-5, rtol=1e-5)
    assert outer.weight.shape == (64, method.rank)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", ["llama", "phi", "gpt_neox"])
def test_a_head_is_saved_loaded_and_counted(name: str, family: str, tmp_path: Path) -> None:
    target = small_target(family)
    method, head = BLOCK_METHODS[name], loud_head(name, target)
    head.model.save_pretrained(tmp_path)
    loaded = load_block_head(tmp_path, method.module, Placement())
    states_TLD = random_states(head)
    with torch.no_grad():
        mine, theirs = (
            each.logits(read_blocks(each, TEXT, states_TLD, slots_within(7, each.block_size)))
            for each in (head, loaded)
        )
    assert torch.equal(mine, theirs)
    target.model.save_pretrained(tmp_path / "target")
    shape = model_shape("", tmp_path / "target")
    config = json.loads((tmp_path / "target" / "config.json").read_text("utf-8"))
    layers = head.model.shape.layers
    planned = count_block_head(method.module, shape, config, layers, head.block_size)
    biases = 64 if head.model.shape.biased_output else 0
    assert planned.parameters == head.model.num_parameters() - biases
    assert not planned.trained_head


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_head_is_read_back_as_it_was(
    name: str, target: LanguageModel, tmp_path: Path
) -> None:
    head, states = loud_head(name, target), {}
    for layout in block_layouts(head):
        export_block_head(head, layout, tmp_path / layout, target="the/target")
        states[layout] = read_block_head(tmp_path / layout, target)
        read, made = states[layout].model.shape, head.model.shape
        assert (read.layers, read.block_size) == (made.layers, made.block_size)
    states_TLD, drawn_RK = random_states(head), slots_within(7, head.block_size)
    with torch.no_grad():
        mine = head.logits(read_blocks(head, TEXT, states_TLD, drawn_RK))
        for other in states.values():
            theirs = other.logits(read_blocks(other, TEXT, states_TLD, drawn_RK))
            torch.testing.assert_close(theirs, mine, atol=1e-6, rtol=1e-6)


def test_layouts_say_what_vllm_reads(target: LanguageModel, tmp_path: Path) -> None:
    configs = {}
    for name in NAMES:
        head = BLOCK_METHODS[name].head(target, [], 0)
        for layout in block_layouts(head):
            folder = tmp_path / name / layout
            export_block_head(head, layout, folder, target="the/target")
            configs[name, layout] = json.loads((folder / CONFIG).read_text("utf-8"))
    dflash = configs["dflash", "dflash"]
    assert dflash["architectures"] == ["DFlashDraftModel"]
    assert dflash["dflash_config"] == {"mask_token_id": 63, "target_layer_ids": [0, 1, 2]}
    assert dflash["block_size"] == 8  # seven tokens and the anchor
    assert dflash["num_target_layers"] == 4
    spoken = configs["dflash", "speculators"]
    assert spoken["speculators_model_type"] == "dflash"
    assert spoken["aux_hidden_state_layer_ids"] == [1, 2, 3]
    assert (spoken["sample_from_anchor"], spoken["sliding_window_non_causal"]) == (False, True)
    assert spoken["speculators_config"]["proposal_methods"][0]["speculative_tokens"] == 7
    assert configs["dspark", "dspark"]["architectures"] == ["Qwen3DSparkModel"]
    assert configs["dspark", "dspark"]["block_size"] == 7
    assert configs["dspark", "speculators"]["sample_from_anchor"] is True
    assert configs["p_eagle", "eagle3"]["mask_token_id"] == 63
    assert configs["p_eagle", "speculators"]["speculators_model_type"] == "peagle"
    assert configs["medusa", "medusa"]["num_heads"] == 5
    domino = configs["domino", "domino"]
    assert domino["architectures"] == ["DominoDraftModel"]
    assert domino["block_size"] == 7
    assert domino["dflash_config"] == {
        "mask_token_id": 63,
        "target_layer_ids": [0, 1, 2],
        "projector_type": "domino",
        "emb_dim": 8,
        "gru_hidden_dim": 12,
        "pure_draft_prefix_len": 1,
        "shift_label": True,
    }


def test_what_cannot_be_read_or_made_is_refused_in_words(
    target: LanguageModel, tmp_path: Path
) -> None:
    head = BLOCK_METHODS["dflash"].head(target, [], 0)
    export_block_head(head, "dflash", tmp_path, target="")
    with pytest.raises(UserError, match="'dspark' does not fit this head; take 'dflash'"):
        export_block_head(head, "dspark", tmp_path, target="")
    weights = load_file(tmp_path / WEIGHTS)
    save_file({k: v for k, v in weights.items() if k != "fc.weight"}, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match=r"1 of \d+ weights are missing \(fc\.weight\)"):
        read_block_head(tmp_path, target)
    config = json.loads((tmp_path / CONFIG).read_text("utf-8"))
    (tmp_path / CONFIG).write_text(json.dumps({**config, "draft_vocab_size": 9}))
    with pytest.raises(UserError, match="drafts only 9 of 64 tokens"):
        read_block_head(tmp_path, target)
    (tmp_path / CONFIG).write_text("{}")
    with pytest.raises(UserError, match="which are not read as a head"):
        read_block_head(tmp_path, target)
    with pytest.raises(UserError, match="mask_token = 64: the target's embedding has rows 0 to 63"):
        block_shape(target, (1,), 4, 64)
    with pytest.raises(UserError, match=r"dflash: features = \[9\] are not different layers"):
        replace(BLOCK_METHODS["dflash"], features=(9,)).head(target, [], 0)
    with pytest.raises(UserError, match="the prompt has 1 tokens; a block head needs 2 or more"):
        read_blocks(head, Text("a", (3,), (4,)), random_states(head)[:1], slots_within(1, 7))
    with pytest.raises(UserError, match="output head without a bias"):
        block_layouts(BLOCK_METHODS["dflash"].head(small_target("phi"), [], 0))
