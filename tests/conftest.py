"""What the tests share: the project's tiny target, a pruned draft of it, and texts it wrote."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from made_once import made_once
from shared_python import OF_RUNS, OF_VLLM, shared_python

from draftmark.config.model_sections import DraftInit
from draftmark.contract.fixtures import read_gold, target, tiny_directory, tokenizer
from draftmark.data.rows import load_rows
from draftmark.models.files import end_tokens
from draftmark.progress import Progress
from draftmark.registry import find_registered
from draftmark.types import Prompt, Sampler, Text

__all__ = ["read_gold", "target", "tiny_directory", "tokenizer"]

# One thread for each of pytest's processes; set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests ask no hub but the one of tests/support/local_hub.py, in processes of their own.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": os.devnull}

# In the background of a shell a process ignores Ctrl-C, and so would those that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test fails for being slow on a busy machine.
settings.register_profile("draftmark", deadline=None)
settings.load_profile("draftmark")


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than there are cores: some tests wait for processes and clocks."""
    return (
        len(os.sched_getaffinity(0) if sys.platform == "linux" else range(os.cpu_count() or 1)) + 1
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slow tests first, so that no worker is left alone with them at the end.

    The cluster's, which wait for killed workers, come before all others. Those of packaging follow:
    one worker gets them together, and builds once.
    """
    items.sort(
        key=lambda item: (
            item.path.parent.name != "cluster",
            item.path.name != "test_packaging.py",
            item.get_closest_marker("slow") is None,
        )
    )


@pytest.fixture(scope="session", autouse=True)
def _one_name_for_each_module() -> Iterator[None]:
    """Fail in the end if a folder of the code was imported under its own name as well."""
    yield
    assert not {"harness", "tasks", "baselines", "reports"} & sys.modules.keys()


@pytest.fixture(scope="session")
def trained_heads(
    target: Any,
    read_gold: Callable[..., dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Any]:
    """Return a function that gives a head of the tiny target by its name in `head_cases`."""
    from head_cases import TRAINED, trained_head

    def make(name: str) -> Any:
        read = read_gold(train=24, validation=2)
        return trained_head(TRAINED[name], target, read, tmp_path_factory.mktemp("head"))

    @cache
    def trained(name: str) -> Any:
        return made_once(tmp_path_factory, f"head {name}", partial(make, name))

    return trained


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The executable of a Python that has imported what runs do."""
    with shared_python(tmp_path_factory, "runs", OF_RUNS) as path:
        yield path


@pytest.fixture(scope="session")
def vllm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The executable of a Python that has imported vLLM."""
    from draftmark.engines._vllm.options import environment_variables

    variables = environment_variables("cpu", 1)
    with shared_python(tmp_path_factory, "vLLM", OF_VLLM, **variables) as path:
        yield path


@pytest.fixture
def draft(target: Any) -> Any:
    """The first and last layer of the tiny target, untrained."""
    from draftmark.models.draft_inits import make_draft

    return make_draft(DraftInit(pruned=(0, 7)), target, seed=0)


@pytest.fixture(scope="session")
def prompts(tokenizer: Any) -> list[Prompt]:
    """The prompts of the project's own 64 test rows."""
    from draftmark.data.prompts import encode_prompts

    rows = load_rows(find_registered("tasks", "gsm8k"), "test", 64, sources=["samples"])
    return encode_prompts(tokenizer, rows.examples)


@pytest.fixture(scope="session")
def write(target: Any, tiny_directory: Path) -> Callable[..., list[Text]]:
    """Return a function that has the tiny target write texts."""
    from draftmark.models.generation import Sampling, generate

    def write_texts(
        prompts: list[Prompt], how: float | Sampler, *, max_new_tokens: int = 160, seed: int = 0
    ) -> list[Text]:
        sampler = how if isinstance(how, Sampler) else Sampler(how)
        sampling = Sampling(sampler, max_new_tokens, end_tokens(tiny_directory), seed)
        with Progress(quiet=True).step("", len(prompts)) as step:
            return generate(target, prompts, sampling, rows_per_batch=32, step=step)

    return write_texts


@pytest.fixture(scope="session")
def greedy_texts(
    write: Callable[..., list[Text]],
    prompts: list[Prompt],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Text]:
    return made_once(tmp_path_factory, "greedy_texts", lambda: write(prompts, 0.0))
