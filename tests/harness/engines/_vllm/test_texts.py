"""Texts that vLLM writes: those of the own loop, from the target's distribution, cut alike."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from vllm_cases import needs_vllm

from draftmark.engines._vllm import starting
from draftmark.engines._vllm.starting import NEED, check_version, installed_version
from draftmark.engines._vllm.texts import VllmWriter
from draftmark.engines.measure.lossless import check_written
from draftmark.errors import UserError
from draftmark.models.files import end_tokens
from draftmark.models.generation import Sampling, generate
from draftmark.models.language_model import LanguageModel, load_model, save_model
from draftmark.models.stop_conditions import StopStrings
from draftmark.types import GREEDY, Placement, Prompt, Sampler

LIMIT = 32


@pytest.fixture(scope="module")
def padded(tiny_directory: Path, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny target with padding rows in its head, one of which would win every argmax."""
    loaded, folder = load_model(tiny_directory), tmp_path_factory.mktemp("padded")
    size = loaded.vocab_size
    loaded.model.resize_token_embeddings(size + 16, mean_resizing=False)
    direction = torch.randn(loaded.hidden_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        head = loaded.model.get_output_embeddings().weight
        head[size:] = 0
        head[size], head[size + 1] = 1e4 * direction, -1e4 * direction
    save_model(loaded, tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def target(padded: Path) -> LanguageModel:
    return load_model(padded)


@pytest.fixture(scope="module")
def writer(padded: Path, vllm_python: str) -> Iterator[VllmWriter]:
    made = VllmWriter.of_target(padded, Placement(), 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", vllm_python)
        yield made
    made.close()


@pytest.fixture(scope="module")
def sampling(tiny_directory: Path) -> Sampling:
    return Sampling(GREEDY, LIMIT, end_tokens(tiny_directory), 0)


@needs_vllm
@pytest.mark.slow
def test_greedy_texts_are_the_own_loops_but_for_ties(
    writer: VllmWriter, target: LanguageModel, sampling: Sampling, prompts: list[Prompt]
) -> None:
    by_length = sorted(prompts[:24], key=lambda prompt: len(prompt.token_ids))
    assert len(writer.write(by_length[:1], sampling=sampling)) == 1  # longer prompts restart it
    written = writer.write(by_length, sampling=sampling)
    own = generate(target, by_length, sampling, rows_per_batch=8)

    check = check_written(written, target, GREEDY, "float32")
    assert check.passed, check.evidence
    pairs = zip(written, own, strict=True)
    differing = [text.example_id for text, mine in pairs if text != mine]
    assert all(name in check.evidence for name in differing)  # each at a tie
    assert len(differing) <= 2
    assert writer.facts["resolved"]["versions"]["vllm"].startswith("0.")
    assert str(writer.directory) not in str(writer.facts)


@needs_vllm
@pytest.mark.slow
def test_sampled_texts_have_the_targets_distribution_and_a_seed_of_their_own(
    writer: VllmWriter, target: LanguageModel, sampling: Sampling, prompts: list[Prompt]
) -> None:
    nucleus = Sampler(1.3, top_k=50, top_p=0.9)
    write = partial(writer.write, prompts[:24])
    sampled = replace(sampling, sampler=nucleus)
    first, again = (write(sampling=sampled) for _ in range(2))
    second = write(sampling=replace(sampled, sample=1))

    for texts in (first, second):
        check = check_written(texts, target, nucleus, "float32")
        assert check.passed, check.evidence
    assert not check_written(first, target, Sampler(0.3), "float32").passed
    assert first == again
    assert sum(a != b for a, b in zip(first, second, strict=True)) > 8  # some are almost certain
    backwards = writer.write(prompts[:24][::-1], sampling=sampled)
    same = sum(a == b for a, b in zip(first, backwards[::-1], strict=True))
    assert same >= 22  # a seed belongs to the prompt; float sums may differ beside other prompts


@needs_vllm
@pytest.mark.slow
def test_stop_strings_cut_as_in_the_own_loop(
    writer: VllmWriter,
    target: LanguageModel,
    sampling: Sampling,
    prompts: list[Prompt],
    tokenizer: Any,
) -> None:
    decode = partial(tokenizer.decode, skip_special_tokens=True)
    plain = generate(target, prompts[:8], sampling, rows_per_batch=8)
    words = decode(plain[0].response_ids).split()
    stop = StopStrings((words[3], f"{words[5]} {words[6]}"), decode)
    stopping = replace(sampling, stop=stop)
    written = writer.write(prompts[:8], sampling=stopping)

    assert written == generate(target, prompts[:8], stopping, rows_per_batch=8)
    assert "stop_string" in {text.finish_reason for text in written}


def test_a_machine_with_another_vllm_or_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "check_installed", lambda what: None)
    with pytest.raises(UserError, match=r"has vLLM .*, but the run was planned with 9\.9"):
        check_version("9.9", NEED)
    monkeypatch.undo()
    if installed_version() is None:
        with pytest.raises(UserError, match=r"responses.engine = 'vllm' needs vLLM, 0\.32"):
            check_version("9.9", NEED)


def test_a_prompt_that_does_not_fit_is_refused_before_vllm_starts(sampling: Sampling) -> None:
    writer = VllmWriter(Path("nowhere"), Placement(), 8, vocab_size=10, max_positions=40)
    with pytest.raises(UserError, match="one: 20 prompt tokens and 32 new ones do not fit"):
        writer.write([Prompt("one", (1,) * 20)], sampling=sampling)
    with pytest.raises(UserError, match="two holds the token 10"):
        writer.write([Prompt("two", (10,))], sampling=sampling)
