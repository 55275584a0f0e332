"""Fixtures of all tests: the tiny target, a pruned draft of it, and its texts."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from draftmark.config.model_sections import DraftInit
from draftmark.data.rows import load_rows, load_splits
from draftmark.models.files import end_tokens, own_models
from draftmark.progress import Progress
from draftmark.registry import find
from draftmark.types import Prompt, Sampler, Text

# One thread for each of pytest's processes; set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hypothesis sets no deadline: the machine may be busy.
settings.register_profile("draftmark", deadline=None)
settings.load_profile("draftmark")


@pytest.fixture(scope="session")
def tiny_directory() -> Path:
    return own_models()["tiny-target"]


@pytest.fixture(scope="session")
def tokenizer(tiny_directory: Path) -> Any:
    from draftmark.models.language_model import load_tokenizer

    return load_tokenizer(tiny_directory)


@pytest.fixture(scope="session")
def target(tiny_directory: Path) -> Any:
    """The tiny target in float32."""
    from draftmark.models.language_model import load_model

    return load_model(tiny_directory)


@pytest.fixture
def draft(target: Any) -> Any:
    """The first and last layer of the tiny target, untrained."""
    from draftmark.models.draft_inits import make_draft

    return make_draft(DraftInit(pruned=(0, 7)), target, seed=0)


@pytest.fixture(scope="session")
def prompts(tokenizer: Any) -> list[Prompt]:
    """The prompts of the 64 sample test rows."""
    from draftmark.data.prompts import encode_prompts

    rows = load_rows(find("tasks", "gsm8k"), "test", 64, sources=["samples"])
    return encode_prompts(tokenizer, rows.examples)


@pytest.fixture(scope="session")
def write(target: Any, tiny_directory: Path) -> Callable[..., list[Text]]:
    """Return a function that generates texts with the tiny target."""
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
def greedy_texts(write: Callable[..., list[Text]], prompts: list[Prompt]) -> list[Text]:
    return write(prompts, 0.0)


@pytest.fixture(scope="session")
def read_gold(
    target: Any, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[str, Any]]:
    """Return a function that maps split=rows to the target's hidden states on gold answers."""
    from draftmark.data.prompts import encode_gold
    from draftmark.models.hidden_states import StoredHiddenStates, write_hidden_states

    def read(**counts: int) -> dict[str, Any]:
        wanted: Any = counts
        splits = load_splits(find("tasks", "gsm8k"), wanted, sources=["samples"])
        found = {}
        for split, rows in splits.items():
            texts = encode_gold(tokenizer, rows.examples, frozenset({tokenizer.eos_token_id}))
            folder = tmp_path_factory.mktemp(split)
            with Progress(quiet=True).step("", len(texts)) as step:
                write_hidden_states(target, texts, folder, dtype="float32", step=step)
            found[split] = StoredHiddenStates.load(folder)
        return found

    return read
