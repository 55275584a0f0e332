"""Exported heads, read back as vLLM reads them: names, shapes, config, and what they compute."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from head_cases import small_head, small_target
from safetensors.torch import load_file
from transformers import DynamicCache

from draftmark.errors import UserError
from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_exports import CONFIG, WEIGHTS, Layout, export_head

WIDTH, MLP, KV, VOCAB = 32, 48, 16, 64
LAYER = {
    "self_attn.q_proj.weight": (WIDTH, WIDTH),
    "self_attn.k_proj.weight": (KV, WIDTH),
    "self_attn.v_proj.weight": (KV, WIDTH),
    "self_attn.o_proj.weight": (WIDTH, WIDTH),
    "mlp.gate_proj.weight": (MLP, WIDTH),
    "mlp.up_proj.weight": (MLP, WIDTH),
    "mlp.down_proj.weight": (WIDTH, MLP),
    "post_attention_layernorm.weight": (WIDTH,),
}
WIDE = {
    **LAYER,
    **{
        f"self_attn.{name}_proj.weight": (rows, 2 * WIDTH)
        for name, rows in (("q", WIDTH), ("k", KV), ("v", KV))
    },
    "hidden_norm.weight": (WIDTH,),
    "input_layernorm.weight": (WIDTH,),
}
KEPT = torch.tensor([2, 5, 7, 60])

Weights = dict[str, torch.Tensor]


def exported(head: FeatureHead, layout: Layout, folder: Path) -> tuple[dict[str, Any], Weights]:
    export_head(head, layout, folder, target="the/target", num_speculative_tokens=3)
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text("utf-8"))
    return config, load_file(folder / WEIGHTS)


def shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in weights.items()}


def test_eagle_has_one_llama_layer_without_a_prefix_or_an_input_norm(tmp_path: Path) -> None:
    config, weights = exported(small_head(small_target("llama"), "eagle"), "eagle", tmp_path)
    assert shapes(weights) == {
        **{f"layers.0.{name}": shape for name, shape in LAYER.items()},
        "fc.weight": (WIDTH, 2 * WIDTH),
        "embed_tokens.weight": (VOCAB, WIDTH),
    }
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["model_type"] == "llama"
    assert config["num_hidden_layers"] == 1
    assert (config["hidden_size"], config["vocab_size"]) == (WIDTH, VOCAB)
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (4, 2)


@pytest.mark.parametrize("layout", ["eagle3", "speculators"])
@pytest.mark.parametrize("cut", [None, KEPT])
def test_eagle3_has_wide_attention_norms_and_maps(
    layout: Layout, cut: torch.Tensor | None, tmp_path: Path
) -> None:
    head = small_head(small_target("llama"), "eagle3", draft_ids=cut)
    config, weights = exported(head, layout, tmp_path)
    prefix = "midlayer." if layout == "eagle3" else "layers.0."
    size = VOCAB if cut is None else len(cut)
    assert shapes(weights) == {
        **{prefix + name: shape for name, shape in WIDE.items()},
        "fc.weight": (WIDTH, 3 * WIDTH),
        "norm.weight": (WIDTH,),
        "lm_head.weight": (size, WIDTH),
        **({} if cut is None else {"d2t": (size,), "t2d": (VOCAB,)}),
    }
    if cut is not None:
        assert weights["d2t"].dtype == torch.long
        assert torch.equal(weights["d2t"] + torch.arange(size), cut)
        assert torch.equal(weights["t2d"].nonzero()[:, 0], cut)
    assert config["draft_vocab_size"] == size
    assert config["eagle_aux_hidden_state_layer_ids"] == [1, 2, 3]
    assert config["norm_before_residual"] is False


def test_the_layouts_of_eagle3_say_what_they_are(tmp_path: Path) -> None:
    head = small_head(small_target("llama"), "eagle3")
    plain, _ = exported(head, "eagle3", tmp_path / "plain")
    assert plain["architectures"] == ["LlamaForCausalLMEagle3"]
    assert plain["num_hidden_layers"] == 1
    config, _ = exported(head, "speculators", tmp_path / "speculators")
    assert config["architectures"] == ["Eagle3DraftModel"]
    assert config["speculators_model_type"] == "eagle3"
    assert config["transformer_layer_config"]["num_hidden_layers"] == 1
    assert config["transformer_layer_config"]["model_type"] == "llama"
    told = config["speculators_config"]
    assert told["algorithm"] == "eagle3"
    assert told["proposal_methods"][0]["speculative_tokens"] == 3
    assert told["verifier"] == {"name_or_path": "the/target", "architectures": ["LlamaForCausalLM"]}


def test_rows_that_pad_the_targets_head_are_left_out(tmp_path: Path) -> None:
    target = small_target("llama")
    head = small_head(type(target)(target.model, 60), "eagle3")
    config, weights = exported(head, "eagle3", tmp_path)
    assert config["draft_vocab_size"] == len(weights["lm_head.weight"]) == 60
    assert torch.equal(weights["d2t"], torch.zeros(60, dtype=torch.long))
    assert weights["t2d"].tolist() == [True] * 60 + [False] * 4


def _norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def _layer(
    weights: Weights, prefix: str, inputs: torch.Tensor, residual: torch.Tensor
) -> torch.Tensor:
    """Return what a Llama layer makes of one slot alone: attention passes its own value on."""
    of = {name.removeprefix(prefix): value for name, value in weights.items()}
    value = (of["self_attn.v_proj.weight"] @ inputs).view(2, 8).repeat_interleave(2, 0).flatten()
    hidden = residual + of["self_attn.o_proj.weight"] @ value
    normed = _norm(hidden, of["post_attention_layernorm.weight"])
    gate, up = (of[f"mlp.{name}_proj.weight"] @ normed for name in ("gate", "up"))
    return hidden + of["mlp.down_proj.weight"] @ (torch.nn.functional.silu(gate) * up)


@pytest.mark.parametrize("layout", ["eagle", "eagle3", "speculators"])
def test_the_files_compute_what_the_head_does(layout: Layout, tmp_path: Path) -> None:
    """On one slot, by the arithmetic that vLLM's code has, written out."""
    target = small_target("llama")
    head = small_head(target, "eagle" if layout == "eagle" else "eagle3")
    _, weights = exported(head, layout, tmp_path)
    states_LD = torch.randn(
        len(head.model.shape.layers), WIDTH, generator=torch.Generator().manual_seed(0)
    )
    embedding = target.model.get_input_embeddings().weight[9]
    with torch.no_grad():
        one = torch.tensor([[0]])
        mine = head.step(
            torch.tensor([[9]]),
            head.fuse(states_LD)[None, None],
            one,
            one[None] == 0,
            DynamicCache(),
        )[0, 0]
        if layout == "eagle":
            joined = weights["fc.weight"] @ torch.cat([embedding, states_LD[0]])
            found = _layer(weights, "layers.0.", joined, joined)
            expected_V = target.model.get_output_embeddings()(found)
        else:
            prefix = "midlayer." if layout == "eagle3" else "layers.0."
            feature = weights["fc.weight"] @ states_LD.flatten()
            joined = torch.cat(
                [
                    _norm(embedding, weights[f"{prefix}input_layernorm.weight"]),
                    _norm(feature, weights[f"{prefix}hidden_norm.weight"]),
                ]
            )
            found = _layer(weights, prefix, joined, feature)
            expected_V = weights["lm_head.weight"] @ _norm(found, weights["norm.weight"])
        torch.testing.assert_close(mine, found, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(head.logits(mine), expected_V, atol=1e-5, rtol=1e-5)


def test_what_vllm_does_not_load_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'eagle' does not fit eagle3 heads; take eagle3 or specul"):
        exported(small_head(small_target("llama"), "eagle3"), "eagle", tmp_path)
    with pytest.raises(UserError, match="the layer of this head is 'phi'"):
        exported(small_head(small_target("phi"), "eagle3"), "eagle3", tmp_path)
