"""What the tests of a device share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from draftmark.models.hidden_states import StoredHiddenStates
from draftmark.models.language_model import LanguageModel
from draftmark.types import Placement
from tests.gpu.device import DEVICE

Load = Callable[[Placement], LanguageModel]


@pytest.fixture(scope="session")
def device() -> str:
    """Return the device."""
    return DEVICE


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
