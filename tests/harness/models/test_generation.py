"""The target's responses: parity with transformers, streams of their own, ends and limits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from draftmark.errors import UserError
from draftmark.models.files import end_tokens
from draftmark.models.generation import Sampling, check_fits, generate, random_stream
from draftmark.progress import Progress
from draftmark.types import Prompt, Sampler, Text

Write = Callable[..., list[Text]]


def test_greedy_responses_are_those_of_transformers(
    target: Any, prompts: list[Prompt], greedy_texts: list[Text], tokenizer: Any
) -> None:
    for prompt, text in list(zip(prompts, greedy_texts, strict=True))[:6]:
        ids = torch.tensor([prompt.token_ids])
        out = target.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=160,
            pad_token_id=tokenizer.pad_token_id,
        )
        assert tuple(out[0, ids.shape[1] :].tolist()) == text.response_ids


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_response_does_not_depend_on_what_shares_its_batch(
    write: Write, prompts: list[Prompt], temperature: float
) -> None:
    together = write(prompts[:8], temperature)
    alone = [write([prompt], temperature)[0] for prompt in prompts[:8]]
    assert together == alone


def test_a_seed_is_a_response_and_another_seed_another(write: Write, prompts: list[Prompt]) -> None:
    assert write(prompts[:8], 1.0, seed=1) == write(prompts[:8], 1.0, seed=1)
    assert write(prompts[:8], 1.0, seed=1) != write(prompts[:8], 1.0, seed=2)


def test_samples_of_a_prompt_differ_and_the_first_is_the_response(
    write: Write, target: Any, tiny_directory: Path, prompts: list[Prompt]
) -> None:
    def sample(number: int) -> list[Text]:
        sampling = Sampling(Sampler(1.0), 24, end_tokens(tiny_directory), 0, number)
        with Progress(quiet=True).step("", 4) as step:
            return generate(target, prompts[:4], sampling, rows_per_batch=4, step=step)

    assert sample(0) == write(prompts[:4], 1.0, max_new_tokens=24)
    assert sample(1) == sample(1)
    assert sample(1) != sample(0) != sample(2) != sample(1)


def test_a_response_ends_with_its_first_end_token_or_at_the_limit(
    write: Write, prompts: list[Prompt], tokenizer: Any
) -> None:
    for limit in (10, 160):
        for text in write(prompts[:16], 1.0, max_new_tokens=limit):
            ends = [token == tokenizer.eos_token_id for token in text.response_ids]
            assert ends[-1] == (text.finish_reason == "stop")
            assert not any(ends[:-1])
            assert text.finish_reason == "stop" or len(ends) == limit


def test_sampled_first_tokens_have_the_models_law(
    target: Any, write: Write, prompts: list[Prompt]
) -> None:
    """One short prompt under many names: each has a stream of its own."""
    from scipy import stats

    prompt = Prompt("short", prompts[1].token_ids[:8])
    many = [Prompt(f"copy {index}", prompt.token_ids) for index in range(3000)]
    texts = write(many, 1.0, max_new_tokens=1)
    with torch.no_grad():
        hidden = target.hidden(torch.tensor([prompt.token_ids]))[0, -1]
        law = torch.softmax(target.logits(hidden).double(), -1)
    likely = law.topk(4).indices.tolist()
    counts = [sum(text.response_ids[0] == token for text in texts) for token in likely]
    expected = [float(law[token]) * 3000 for token in likely]
    counts.append(3000 - sum(counts))
    expected.append(3000 - sum(expected))
    kept = [(count, mean) for count, mean in zip(counts, expected, strict=True) if mean > 5]
    observed, means = zip(*kept, strict=True)
    scale = sum(observed) / sum(means)
    assert stats.chisquare(observed, [mean * scale for mean in means]).pvalue > 1e-3


def test_streams_of_different_names_differ() -> None:
    first, second = (torch.rand(3, generator=random_stream(0, name)) for name in ("a", "b"))
    assert not torch.equal(first, second)
    assert torch.equal(first, torch.rand(3, generator=random_stream(0, "a")))


def test_a_prompt_that_does_not_fit_the_context_is_named(target: Any) -> None:
    long = Prompt("gsm8k/test/7", tuple(range(1, 1000)))
    with pytest.raises(UserError, match=r"gsm8k/test/7: 999 prompt tokens and 200 .* 1024"):
        check_fits(target, [long], 200)
