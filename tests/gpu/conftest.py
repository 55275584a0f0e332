"""The device that tests compare with the CPU: `make gpu` sets DRAFTMARK_DEVICE, by default cuda."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from draftmark.models.hidden_states import StoredHiddenStates
from draftmark.models.language_model import LanguageModel
from draftmark.types import Placement

Load = Callable[[Placement], LanguageModel]


@pytest.fixture(scope="session")
def device() -> str:
    """Return the device; skips the test if this machine has none."""
    import torch

    name = os.environ.get("DRAFTMARK_DEVICE", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    return name


@pytest.fixture(scope="session")
def known(
    device: str, read_gold: Callable[..., dict[str, StoredHiddenStates]]
) -> dict[str, StoredHiddenStates]:
    """Return the tiny target's states on gold answers, read on the CPU in float32."""
    return read_gold(train=4, validation=4)


@pytest.fixture(scope="session")
def load(tiny_directory: Path) -> Load:
    """Return what loads the tiny target."""
    from draftmark.models.language_model import load_model

    return lambda placement: load_model(tiny_directory, placement)
