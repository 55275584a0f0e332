"""Grouped attention: the bits of repeated keys, and which models take it."""

from pathlib import Path

import pytest
import torch
from family_cases import FAMILIES, save_family
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from draftmark.models.attention import (
    GROUPED,
    attend_folded,
    group_heads,
    grouped_attention,
    ungroup_heads,
)

GROUPED_FAMILIES = {"qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "cohere", "granite"}


class Heads(torch.nn.Module):
    """What transformers' attention reads of a layer."""

    is_causal = True

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.num_key_value_groups = groups


def states(
    heads: int, groups: int, queries: int, keys: int, dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    """Return queries, keys, values and a mask of 3 texts that are padded on the left.

    Keys and values are views of larger memory, as in a cache.
    """
    torch.manual_seed(0)
    query = torch.randn(3, heads, queries, 32, dtype=dtype)
    key, value = (torch.randn(3, groups, keys + 9, 32, dtype=dtype)[:, :, :keys] for _ in "kv")
    mask = torch.ones(3, 1, queries, keys, dtype=torch.bool).tril(keys - queries)
    for text in range(3):
        mask[text, ..., : 2 * text] = False
    return [query, key, value, mask]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("heads", "groups"), [(4, 2), (9, 3), (14, 2), (4, 1)])
@pytest.mark.parametrize(("queries", "keys"), [(1, 40), (1, 700), (5, 130), (64, 90)])
def test_grouped_heads_have_the_bits_of_repeated_ones(
    dtype: torch.dtype, heads: int, groups: int, queries: int, keys: int
) -> None:
    inputs = states(heads, groups, queries, keys, dtype)
    module = Heads(heads // groups)
    with torch.no_grad():
        found, _ = grouped_attention(module, *inputs, scaling=0.2)
        expected, _ = sdpa_attention_forward(module, *inputs, scaling=0.2)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("heads", "groups"), [(4, 2), (9, 3), (4, 1), (4, 4)])
def test_folded_heads_attend_as_repeated_ones(heads: int, groups: int) -> None:
    query, key, value, mask = states(heads, groups, 1, 50)
    repeated = [one.repeat_interleave(heads // groups, dim=1) for one in (key, value)]
    expected = scaled_dot_product_attention(query, *repeated, attn_mask=mask, scale=0.2)
    torch.testing.assert_close(attend_folded(query, key, value, mask, 0.2), expected)


def test_a_bias_of_positions_is_added() -> None:
    inputs = states(4, 2, 5, 30)
    bias = torch.randn(1, 4, 5, 30)
    found, expected = (
        attend(Heads(2), *inputs, scaling=0.2, position_bias=bias)[0]
        for attend in (grouped_attention, sdpa_attention_forward)
    )
    assert torch.equal(found, expected)
    assert not torch.equal(found, grouped_attention(Heads(2), *inputs, scaling=0.2)[0])


def test_gradients_are_those_of_transformers() -> None:
    inputs = states(4, 2, 5, 30)
    gradients = []
    for attend in (grouped_attention, sdpa_attention_forward):
        given = [one.clone().requires_grad_() for one in inputs[:3]]
        output, _ = attend(Heads(2), *given, inputs[3], scaling=0.2)
        gradients.append(torch.autograd.grad(output.square().sum(), given))
    for mine, its in zip(*gradients, strict=True):
        assert torch.equal(mine, its)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_with_grouped_heads_take_it_and_others_keep_their_own(
    family: str, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(save_family(family, tmp_path / "model"))
    own = model.config._attn_implementation
    group_heads(model)
    assert model.config._attn_implementation == (GROUPED if family in GROUPED_FAMILIES else own)
    model.save_pretrained(tmp_path / "again")
    assert GROUPED not in (tmp_path / "again" / "config.json").read_text("utf-8")
    ungroup_heads(model)
    assert model.config._attn_implementation == own
