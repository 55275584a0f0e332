"""What tests of vLLM share."""

from importlib.util import find_spec

import pytest

from draftmark.environment import install_hint

needs_vllm = pytest.mark.skipif(
    find_spec("vllm") is None, reason=f"vLLM is not installed; {install_hint('vllm')}"
)
