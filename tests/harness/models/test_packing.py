"""Packed rows have the states and gradients of padded rows, in every family that can pack."""

from typing import Any

import pytest
import torch
import transformers
from family_cases import FAMILIES, TOKENS, save_family
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.models.language_model import LanguageModel, load_model, pad_rows
from draftmark.models.packing import can_pack, fits_windows, packed_states

PADDED = {"codegen"}  # attention code of its own
ROWS = st.lists(
    st.lists(st.integers(1, TOKENS - 1), min_size=1, max_size=8), min_size=1, max_size=5
)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: Any, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_model(save_family(request.param, tmp_path_factory.mktemp(request.param)))


def gradients(model: LanguageModel, states: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the gradients of a function of the states that no two positions share."""
    model.model.zero_grad()
    states_TD = torch.cat(states)
    (states_TD * torch.linspace(-1, 1, states_TD.numel()).view_as(states_TD)).sum().backward()
    return {n: p.grad for n, p in model.model.named_parameters() if p.grad is not None}


def padded_states(model: LanguageModel, rows: list[list[int]]) -> list[torch.Tensor]:
    states_BTD = model.hidden(*pad_rows(rows, model.device))
    return [states_TD[: len(row)] for row, states_TD in zip(rows, states_BTD, strict=True)]


def test_every_family_but_those_with_their_own_attention_packs(family: LanguageModel) -> None:
    before = family.model.config._attn_implementation
    assert can_pack(family) is (family.model.config.model_type not in PADDED)
    assert family.model.config._attn_implementation == before


@settings(max_examples=8, deadline=None)
@given(rows=ROWS)
def test_packed_rows_have_the_states_and_gradients_of_padded_rows(
    family: LanguageModel, rows: list[list[int]]
) -> None:
    if not can_pack(family):
        return
    packed, padded = list(packed_states(family, rows)), padded_states(family, rows)
    for mine, theirs in zip(packed, padded, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    found, expected = gradients(family, packed), gradients(family, padded)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[name], gradient, atol=1e-4 * max(1, scale), rtol=1e-3)


def test_a_row_longer_than_a_window_is_not_packed() -> None:
    config = transformers.Gemma2Config(sliding_window=8)
    assert fits_windows(config, [[1] * 8, [1] * 3])
    assert not fits_windows(config, [[1] * 9, [1] * 3])
    assert fits_windows(transformers.LlamaConfig(), [[1] * 10_000])


@pytest.mark.parametrize(
    ("configuration", "changes"),
    [
        (transformers.JambaConfig, {"use_mamba_kernels": False}),
        (transformers.RecurrentGemmaConfig, {}),
        (transformers.FalconConfig, {"alibi": True}),
    ],
)
def test_recurrent_layers_and_other_attention_read_padded_rows(
    configuration: Any, changes: dict[str, Any]
) -> None:
    values = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "pad_token_id": 0}
    heads = {"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = transformers.AutoModelForCausalLM.from_config(
        configuration(**values, **heads, **changes)
    )
    assert not can_pack(LanguageModel(model.eval(), TOKENS))
