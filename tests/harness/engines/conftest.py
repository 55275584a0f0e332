"""vLLM, imported once for all tests of engines."""

from collections.abc import Iterator

import pytest
from shared_python import OF_VLLM, shared_python

from draftmark.engines._vllm.options import environment_variables


@pytest.fixture(scope="session")
def vllm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The executable of a Python that has imported vLLM."""
    variables = environment_variables("cpu", 1)
    with shared_python(tmp_path_factory, "vLLM", OF_VLLM, **variables) as path:
        yield path
