"""States that an engine read pass the check if they are the target's own, up to rounding."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from draftmark.engines.measure.read_states import check_read
from draftmark.models.hidden_states import StoredHiddenStates, write_hidden_states
from draftmark.models.language_model import LanguageModel, load_model
from draftmark.progress import Progress
from draftmark.types import Placement, Text

Stored = Callable[..., StoredHiddenStates]


@pytest.fixture(scope="module")
def coarse(tiny_directory: Path) -> LanguageModel:
    return load_model(tiny_directory, Placement(dtype="bfloat16"))


@pytest.fixture
def stored(tmp_path: Path, greedy_texts: list[Text]) -> Stored:
    """Return what stores the states of a few texts."""

    def write(model: LanguageModel, dtype: str, layers: tuple[int, ...] = (2, 8)) -> Any:
        with Progress(quiet=True).step("reading", 3) as step:
            options: Any = {"layers": layers, "positions": "all", "dtype": dtype, "step": step}
            write_hidden_states(model, greedy_texts[:3], tmp_path, **options)
        return StoredHiddenStates.load(tmp_path)

    return write


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_targets_own_states_pass_in_every_stored_dtype(
    stored: Stored, target: LanguageModel, dtype: str
) -> None:
    made = stored(target, dtype)
    check = check_read(made, made.texts, target, target)
    assert check.passed, check.evidence
    assert check.evidence.startswith("3 texts; the largest relative error is ")


def test_rounding_is_that_of_the_engines_dtype(
    stored: Stored, target: LanguageModel, coarse: LanguageModel
) -> None:
    made = stored(coarse, "float32")
    assert check_read(made, made.texts, target, coarse).passed
    assert not check_read(made, made.texts, target, target).passed


def test_states_of_another_layer_or_token_fail(
    stored: Stored, target: LanguageModel, coarse: LanguageModel
) -> None:
    made = stored(target, "float32", (3, 8))
    wrong = StoredHiddenStates(made.texts, (2, 8), made.positions, made.states_TLD)
    check = check_read(wrong, made.texts, target, coarse)
    assert not check.passed
    assert "in layer 2" in check.evidence
    shifted = StoredHiddenStates(
        made.texts, made.layers, made.positions, torch.roll(made.states_TLD, 1, 0)
    )
    assert not check_read(shifted, made.texts, target, coarse).passed
