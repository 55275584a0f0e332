"""The target's hidden states: the same from disk as live, and never more than may be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from draftmark.errors import UserError
from draftmark.models.hidden_states import (
    LiveStates,
    StoredHiddenStates,
    hidden_states,
    write_hidden_states,
)
from draftmark.models.language_model import LanguageModel
from draftmark.models.supervised_positions import (
    num_positions,
    right_padded,
    select_supervised,
    supervised_positions,
)
from draftmark.progress import Progress
from draftmark.types import Prompt, Text

LAYERS = (2, 4, 8)


@pytest.fixture(scope="module")
def texts(write: Callable[..., list[Text]], prompts: list[Prompt]) -> list[Text]:
    return write(prompts[:6], 0.0, max_new_tokens=20)


def _write(
    target: LanguageModel, texts: list[Text], folder: Path, **options: Any
) -> StoredHiddenStates:
    with Progress(quiet=True).step("", len(texts)) as step:
        write_hidden_states(target, texts, folder, dtype="float32", step=step, **options)
    return StoredHiddenStates.load(folder)


def test_what_is_on_disk_is_what_the_target_computes_at_every_position(
    target: LanguageModel, texts: list[Text], tmp_path: Path
) -> None:
    stored = _write(target, texts, tmp_path, layers=LAYERS, positions="all")
    live = LiveStates(target, LAYERS)
    assert stored.layers == LAYERS
    for text in texts:
        states_TLD = stored.states_of(text)
        assert states_TLD.shape == (num_positions(text), 3, target.hidden_size)
        torch.testing.assert_close(states_TLD, live.states_of(text), atol=1e-4, rtol=1e-4)


def test_padding_that_no_mask_hides_changes_no_state(
    target: LanguageModel, texts: list[Text]
) -> None:
    assert len({num_positions(text) for text in texts}) > 1
    ids_BT, mask_BT = right_padded(texts, target.device)
    with torch.no_grad():
        masked = select_supervised(texts, target.hidden(ids_BT, mask_BT))
    expected = {text.example_id: state for text, state in zip(texts, masked, strict=True)}
    for text, hidden_ND in hidden_states(target, texts):
        torch.testing.assert_close(hidden_ND, expected[text.example_id], atol=1e-5, rtol=1e-5)


def test_final_states_take_one_vector_a_supervised_token_and_are_the_last_layers_to_the_bit(
    target: LanguageModel, texts: list[Text], tmp_path: Path
) -> None:
    for name in ("final", "every"):
        (tmp_path / name).mkdir()
    final = _write(target, texts, tmp_path / "final")
    every = _write(target, texts, tmp_path / "every", layers=LAYERS, positions="all")
    tokens = sum(len(text.response_ids) for text in texts)
    assert final.states_TLD.shape == (tokens, 1, target.hidden_size)
    for text, hidden_ND in hidden_states(target, texts):
        assert torch.equal(final.last_layer_of(text), hidden_ND)
        assert torch.equal(every.last_layer_of(text)[supervised_positions(text)], hidden_ND)


def test_the_last_layer_is_the_final_state_of_the_supervised_positions(
    target: LanguageModel, texts: list[Text]
) -> None:
    live = LiveStates(target, LAYERS)
    for text, hidden_ND in hidden_states(target, texts):
        found_ND = live.states_of(text)[len(text.prompt_ids) - 1 :, 2]
        torch.testing.assert_close(found_ND, hidden_ND, atol=1e-4, rtol=1e-4)


def test_more_than_may_be_is_refused_before_anything_is_written(
    target: LanguageModel, texts: list[Text], tmp_path: Path
) -> None:
    every: dict[str, Any] = {"layers": LAYERS, "positions": "all"}
    needed = sum(map(num_positions, texts)) * 3 * target.hidden_size * 4
    assert (tmp_path / "states.bin").exists() is False
    with pytest.raises(UserError, match=r"1536 bytes\); data.max_features_gb is"):
        _write(target, texts, tmp_path, **every, max_gigabytes=needed / 1e9 - 1e-9)
    assert list(tmp_path.iterdir()) == []
    _write(target, texts, tmp_path, **every, max_gigabytes=needed / 1e9)
    assert (tmp_path / "states.bin").stat().st_size == needed
