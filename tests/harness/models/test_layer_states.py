"""The target's layer states: the same from disk as live, and never more than may be."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from draftmark.errors import UserError
from draftmark.models.hidden_states import hidden_states
from draftmark.models.language_model import LanguageModel
from draftmark.models.layer_states import LiveStates, States, num_positions, write_states
from draftmark.progress import Progress
from draftmark.types import Prompt, Text

LAYERS = (2, 4, 8)


@pytest.fixture(scope="module")
def texts(write: Callable[..., list[Text]], prompts: list[Prompt]) -> list[Text]:
    return write(prompts[:6], 0.0, max_new_tokens=20)


def _write(target: LanguageModel, texts: list[Text], folder: Path, limit: float = 1.0) -> States:
    with Progress(quiet=True).step("", len(texts)) as step:
        write_states(target, texts, LAYERS, folder, dtype="float32", limit=limit, step=step)
    return States.load(folder)


def test_what_is_on_disk_is_what_the_target_computes_at_every_position(
    target: LanguageModel, texts: list[Text], tmp_path: Path
) -> None:
    stored, live = _write(target, texts, tmp_path), LiveStates(target, LAYERS)
    assert stored.layers == LAYERS
    for text in texts:
        assert stored.of(text).shape == (num_positions(text), 3, target.hidden_size)
        torch.testing.assert_close(stored.of(text), live.of(text), atol=1e-4, rtol=1e-4)


def test_the_last_layer_is_the_final_state_of_the_supervised_positions(
    target: LanguageModel, texts: list[Text]
) -> None:
    live = LiveStates(target, LAYERS)
    for text, hidden_ND in hidden_states(target, texts):
        found_ND = live.of(text)[len(text.prompt_ids) - 1 :, 2]
        torch.testing.assert_close(found_ND, hidden_ND, atol=1e-4, rtol=1e-4)


def test_more_than_may_be_is_refused_before_anything_is_written(
    target: LanguageModel, texts: list[Text], tmp_path: Path
) -> None:
    needed = sum(map(num_positions, texts)) * 3 * target.hidden_size * 4
    assert (tmp_path / "states.bin").exists() is False
    with pytest.raises(UserError, match=r"1536 bytes\); data.max_features_gb is"):
        _write(target, texts, tmp_path, limit=needed / 1e9 - 1e-9)
    assert list(tmp_path.iterdir()) == []
    _write(target, texts, tmp_path, limit=needed / 1e9)
    assert (tmp_path / "states.bin").stat().st_size == needed
