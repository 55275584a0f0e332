"""vLLM, imported once for all tests of engines that a process of pytest runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from vllm_forks import vllm_forks

from draftmark.engines._vllm.options import environment_variables


@pytest.fixture(scope="session")
def forks() -> Iterator[Path]:
    """The socket of a process that has imported vLLM and forks."""
    with vllm_forks(environment_variables("cpu", 1)) as path:
        yield path
